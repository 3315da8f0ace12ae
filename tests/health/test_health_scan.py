"""The scan: every file measured once, remembered until it changes, and no file able to end the scan."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import made_media
import pandas as pd
import pytest
from health_files import table, voice

from eavdash.data.cache import database
from eavdash.health import memory, workers
from eavdash.health.check import check_dataset
from eavdash.health.measures.base import MeasureRequest, Part
from eavdash.health.memory import MeasureCache
from eavdash.health.scan import Scan, measure_requests, scan
from eavdash.store.processes import pool as process_pool

WHOLE = (Part(),)
#: A program that answers with the file's name and does to some files what a decoder could do.
FAKE = """
import os, signal, time
from eavdash.store.processes.program import serve
def answer(asked):
    name = os.path.basename(asked["file"])
    if "segfault" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "exit" in name:
        os._exit(3)
    if "hang" in name:
        time.sleep(600)
    if "ignore" in name:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        time.sleep(600)
    if "garbage" in name:
        for number in os.listdir("/proc/self/fd"):
            link = f"/proc/self/fd/{number}"
            if os.path.exists(link) and os.readlink(link).startswith("socket"):
                os.write(int(number), b"not json\\n")
    if "raise" in name:
        raise KeyError(name)
    return {"problem": "", "kind": "", "pid": os.getpid(), "name": name, "parts": [{}]}, []
serve(answer)
"""


def wait_for(true: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def fake(tmp_path: Path) -> tuple[str, ...]:
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    return (sys.executable, str(script))


def asked(folder: Path, *names: str) -> list[MeasureRequest]:
    for name in names:
        (folder / name).write_bytes(b"x" * 10)
    return [MeasureRequest("audio", str(folder / name), WHOLE) for name in names]


def test_a_process_that_dies_is_a_problem_of_its_file_alone(tmp_path: Path, fake: tuple[str, ...]) -> None:
    names = ["a", "segfault", "b", "exit", "c", "garbage", "d", "segfault2", "raise", "e"]
    answers = {Path(x.file).name: a for x, a in workers.run(asked(tmp_path, *names), command=fake, processes=2)}
    assert set(answers) == set(names)
    assert all(answers[n]["problem"] == "" for n in "abcde")
    assert "Segmentation fault" in answers["segfault"]["problem"]
    assert answers["segfault2"]["kind"] == answers["exit"]["kind"] == "crash"
    assert "exit code 3" in answers["exit"]["problem"]
    assert answers["garbage"]["kind"] == answers["raise"]["kind"] == "crash"
    assert "KeyError" in answers["raise"]["problem"]
    assert str(tmp_path / "exit") in answers["exit"]["problem"]


def test_a_file_that_takes_too_long_is_given_up(
    tmp_path: Path, fake: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "_GRACE", 0.5)
    begin = time.monotonic()
    run = workers.run(asked(tmp_path, "hang", "a", "ignore", "b"), limit=0.5, command=fake, processes=1)
    answers = {Path(x.file).name: a for x, a in run}
    assert time.monotonic() - begin < 30
    assert answers["hang"]["kind"] == answers["ignore"]["kind"] == "limit"
    assert "still being read after" in answers["hang"]["problem"]
    assert answers["a"]["problem"] == answers["b"]["problem"] == ""


def test_a_command_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    ((_, answer),) = workers.run(asked(tmp_path, "a"), command=(str(tmp_path / "none"),), processes=1)
    assert answer["kind"] == "crash"


def test_processes_end_with_the_scan(tmp_path: Path, fake: tuple[str, ...]) -> None:
    run = workers.run(asked(tmp_path, *(f"f{n}" for n in range(30)), "hang"), command=fake, processes=2)
    pids = {next(run)[1]["pid"] for _ in range(10)}
    run.close()  # type: ignore[attr-defined]
    for pid in pids:
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists() or _zombie(pid))


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_large_arrays_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LARGE", 5)

    def answers(_: Any, take: Any) -> Iterator[Any]:
        first, other = take(), take()
        assert take() is None
        yield other[0], ({}, [])
        assert take() is None  # b.mat waits for a.mat
        yield first[0], ({}, [])
        yield take()[0], ({}, [])
        assert take() is None

    monkeypatch.setattr(workers.ProcessPool, "answers", answers)
    done = workers.run(asked(tmp_path, "a.mat", "b.mat", "c.wav"), processes=2)
    assert [Path(request.file).name for request, _ in done] == ["c.wav", "a.mat", "b.mat"]


def test_the_process_that_measures_answers_and_ends(tmp_path: Path) -> None:
    file = made_media.wav(tmp_path / "a.wav", voice(1))
    finding_with = list(
        workers.run([MeasureRequest("audio", file, WHOLE), MeasureRequest("audio", str(tmp_path), WHOLE)])
    )
    assert finding_with[0][1]["parts"][0]["duration"] == 1
    assert "found a folder" in finding_with[1][1]["problem"]


def test_requests_are_one_per_file_with_all_its_parts() -> None:
    frame = pd.DataFrame(
        {
            "eeg": ["a.mat#1", "a.mat#2", "a.mat#2"],
            "audio": ["s.wav", "s.wav", ""],
            "video": ["v.mp4", "v.mp4", "x.pkl#1"],
            "start": [float("nan"), 1.0, 1.0],
            "stop": [float("nan"), 2.0, 2.0],
        }
    )
    finding_with = {(x.column, x.file): x.parts for x in measure_requests(frame, faces=True)}
    assert finding_with["eeg", "a.mat"] == (Part(1), Part(2, 1.0, 2.0))
    assert finding_with["audio", "s.wav"] == (Part(), Part(None, 1.0, 2.0))
    assert finding_with["faces", "v.mp4"] == WHOLE
    assert ("faces", "x.pkl") not in finding_with
    assert len(measure_requests(frame, faces=False)) == 4


class Counter:
    """Stands in for the processes: answers at once, and remembers what it was asked."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.seen: list[str] = []
        self.stop_after = stop_after

    def __call__(self, todo: Sequence[MeasureRequest]) -> Iterator[tuple[MeasureRequest, dict[str, Any]]]:
        for what in todo:
            if len(self.seen) >= self.stop_after:
                raise KeyboardInterrupt
            self.seen.append(Path(what.file).name)
            yield what, {"problem": "", "kind": "", "parts": [{"n": Path(what.file).read_text()} for _ in what.parts]}


def scanned(todo: Sequence[MeasureRequest], cache: Path | None, run: Counter | None = None) -> tuple[Scan, list[str]]:
    counter = run or Counter()
    return scan(todo, cache, run=counter), counter.seen


def test_a_second_scan_opens_only_what_has_changed(tmp_path: Path) -> None:
    todo = asked(tmp_path, *(f"{n}.wav" for n in range(5)))
    cache = tmp_path / "cache"
    first, seen = scanned(todo, cache)
    assert (first.scanned, first.reused, len(seen)) == (5, 0, 5)
    again, seen = scanned(todo, cache)
    assert (again.scanned, again.reused, seen) == (0, 5, [])
    assert again.answers == first.answers

    os.utime(tmp_path / "1.wav", (1, 1))
    (tmp_path / "2.wav").write_bytes(b"y" * 10)  # the same size at another time
    os.utime(tmp_path / "2.wav", (2, 2))
    (tmp_path / "3.wav").write_bytes(b"longer than before")
    (tmp_path / "4.wav").unlink()
    changed, seen = scanned(todo, cache)
    assert sorted(seen) == ["1.wav", "2.wav", "3.wav"]
    assert (changed.scanned, changed.reused) == (3, 1)
    assert changed.answers["audio", str(tmp_path / "2.wav")]["parts"] == [{"n": "y" * 10}]
    assert "no file" in changed.answers["audio", str(tmp_path / "4.wav")]["problem"]


def test_other_parts_columns_and_versions_are_other_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = asked(tmp_path, "a.wav")
    part = MeasureRequest("audio", whole.file, (Part(None, 0.0, 1.0),))
    faces = MeasureRequest("faces", whole.file, WHOLE)
    scanned([whole], tmp_path)
    assert scanned([part], tmp_path)[1] == ["a.wav"]
    assert scanned([faces], tmp_path)[1] == ["a.wav"]
    for what in (whole, part, faces):
        assert scanned([what], tmp_path)[1] == []
    monkeypatch.setattr(memory, "VERSION", memory.VERSION + 1)
    assert scanned([whole], tmp_path)[1] == ["a.wav"]


def test_a_header_whose_samples_lie_beside_it_changes_with_them(tmp_path: Path) -> None:
    (tmp_path / "a.vhdr").write_text("Brain Vision Data Exchange Header File\n[Common Infos]\nDataFile=a.eeg\n")
    (tmp_path / "a.eeg").write_text("one")
    todo = [MeasureRequest("eeg", str(tmp_path / "a.vhdr"), WHOLE)]
    scanned(todo, tmp_path / "cache")
    assert scanned(todo, tmp_path / "cache")[1] == []
    (tmp_path / "a.eeg").write_text("other")
    assert scanned(todo, tmp_path / "cache")[1] == ["a.vhdr"]


@pytest.mark.parametrize("content", [b"", b"this is no database", b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_cache_is_made_again(tmp_path: Path, content: bytes) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / memory.NAME).write_bytes(content)
    todo = asked(tmp_path, "a.wav")
    done, seen = scanned(todo, cache)
    assert (seen, done.problem) == (["a.wav"], "")
    assert scanned(todo, cache)[1] == []


def test_damage_in_the_middle_costs_new_measurements(tmp_path: Path) -> None:
    todo = asked(tmp_path, *(f"{n}.wav" for n in range(200)))
    cache = tmp_path / "cache"
    scanned(todo, cache)
    file = cache / memory.NAME
    data = bytearray(file.read_bytes())
    data[4096:20480] = os.urandom(16384)
    file.write_bytes(data)
    done, _ = scanned(todo, cache)
    assert len(done.answers) == 200
    assert scanned(todo, cache)[0].reused > 0
    assert scanned(todo, cache)[0].reused == 200


def test_an_answer_that_is_not_whole_is_asked_for_again(tmp_path: Path) -> None:
    todo = asked(tmp_path, "a.wav", "b.wav", "c.wav")
    cache = tmp_path / "cache"
    scanned(todo, cache)
    with sqlite3.connect(cache / memory.NAME) as base:
        for name, answer in (("a.wav", "{"), ("b.wav", '{"problem": "", "parts": []}'), ("c.wav", "[1]")):
            path = os.fsencode(tmp_path / name)
            assert base.execute("UPDATE looks SET answer=? WHERE path=?", (answer, path)).rowcount == 1
    base.close()
    assert len(scanned(todo, cache)[1]) == 3
    assert scanned(todo, cache)[1] == []


def test_a_cache_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / memory.NAME) as base:
        base.execute("CREATE TABLE looks (something TEXT)")
    base.close()
    done, seen = scanned(asked(tmp_path, "a.wav"), tmp_path)
    assert seen == ["a.wav"]
    assert "column" in done.problem


def test_an_interrupted_scan_resumes(tmp_path: Path) -> None:
    todo = asked(tmp_path, *(f"{n}.wav" for n in range(10)))
    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        scanned(todo, cache, Counter(stop_after=4))
    done, seen = scanned(todo, cache)
    assert len(seen) == 6
    assert (done.scanned, done.reused) == (6, 4)


def test_two_scans_at_once_share_what_they_learn(tmp_path: Path) -> None:
    todo = asked(tmp_path, *(f"{n}.wav" for n in range(300)))
    cache = tmp_path / "cache"
    done: list[Scan] = []
    threads = [threading.Thread(target=lambda: done.append(scanned(todo, cache)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [d.problem for d in done] == [""] * 4
    assert scanned(todo, cache)[0].reused == 300


def test_an_unwritable_cache_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    todo = asked(tmp_path, "a.wav")
    done, seen = scanned(todo, tmp_path / "file" / "cache")
    assert seen == ["a.wav"]
    assert done.problem
    assert scanned(todo, None)[0].problem == ""


def test_a_locked_cache_is_read_and_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_WAIT", 0.2)
    todo = asked(tmp_path, "a.wav", "b.wav")
    scanned(todo[:1], tmp_path)
    base = sqlite3.connect(tmp_path / memory.NAME, isolation_level=None)
    base.execute("BEGIN IMMEDIATE")
    done, seen = scanned(todo, tmp_path)
    base.execute("ROLLBACK")
    base.close()
    assert seen == ["b.wav"]
    assert "locked" in done.problem
    assert (tmp_path / memory.NAME).exists()
    assert scanned(todo, tmp_path)[1] == ["b.wav"]


def test_crashes_and_time_limits_are_not_remembered(tmp_path: Path) -> None:
    todo = asked(tmp_path, "a.wav", "b.wav")

    def run(requests: Sequence[MeasureRequest]) -> Iterator[tuple[MeasureRequest, dict[str, Any]]]:
        for what, kind in zip(requests, ("crash", "expected a sound"), strict=False):
            yield what, {"problem": "bad", "kind": kind, "parts": []}

    scan(todo, tmp_path, run=run)
    assert scanned(todo, tmp_path)[1] == ["a.wav"]


def test_remembered_names_need_not_be_text(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav")
    Path(name).write_bytes(b"x")
    what = MeasureRequest("audio", name, WHOLE)
    with MeasureCache(tmp_path / "cache") as known:
        known.put(what, (1, 2), {"problem": "", "parts": [{}]})
    with MeasureCache(tmp_path / "cache") as known:
        assert known.get(what, (1, 2)) == {"problem": "", "parts": [{}]}
        assert known.get(what, (1, 3)) is None
    assert scan([what], None).answers["audio", name]["problem"]


def test_progress_counts_what_is_known_and_what_is_missing(tmp_path: Path) -> None:
    todo = asked(tmp_path, "a.wav", "b.wav", "c.wav")
    scanned(todo[:1], tmp_path / "cache")
    (tmp_path / "b.wav").unlink()
    reports: list[tuple[int, int]] = []
    scan(todo, tmp_path / "cache", lambda *x: reports.append(x), run=Counter())
    assert reports == [(2, 3), (3, 3)]


def test_a_check_counts_reused_files(tmp_path: Path) -> None:
    made_media.wav(tmp_path / "a.wav", voice(1, seed=1))
    made_media.wav(tmp_path / "b.wav", voice(1, seed=2))
    path = table(tmp_path, "1,1,a,1,,,,a.wav,", "1,2,b,2,,,,b.wav,")
    first = check_dataset(path, cache=tmp_path / "cache", faces=False)
    second = check_dataset(path, cache=tmp_path / "cache", faces=False)
    assert (first.scanned, first.reused, second.scanned, second.reused) == (2, 0, 0, 2)
    pd.testing.assert_frame_equal(first.recordings, second.recordings)
    assert first.findings == second.findings
    (tmp_path / "file").touch()
    findings = check_dataset(path, cache=tmp_path / "file" / "cache", faces=False).findings
    assert [f.severity for f in findings] == ["info"]
    assert str(tmp_path / "file" / "cache") in findings[0].message
