"""Reading in several processes: the same arrays, bounded memory, and no process that outlives its purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from failing import fails
from made_media import fif, mat, movie, trials, wav

from eavdash.config.schema import AudioConfig, EegConfig, StudyConfig, VisionConfig
from eavdash.data.cache.window_set_spec import window_set_spec
from eavdash.data.inputs import load_windows
from eavdash.data.readers import READERS, TrialRow
from eavdash.data.readers.pool import LIBRARIES, MEMORY, PROCESS, ReaderPool, jobs_within
from eavdash.errors import RecordingError
from eavdash.store.processes import pool as module

CONFIG = StudyConfig(
    window=1.0,
    vision=VisionConfig(frames_per_second=2, size=16, crop="centre"),
    audio=AudioConfig(mels=32),
    eeg=EegConfig(low=2.0),
)
COUNT = 7


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pd.DataFrame:
    """Trials of different lengths, so that they are ready in another order than they are asked for."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    array = mat(folder / "s.mat", rng.normal(0, 10, (1000, 30, 2)))
    rows: list[dict[str, object]] = []
    for n in range(1, COUNT + 1):
        length = 1.0 + 5 * (n % 3)
        rows.append(
            {
                "audio": wav(folder / f"{n}.wav", rng.normal(0, 0.1, round(length * 44100)), 44100),
                "video": movie(folder / f"{n}.mp4", [k / 8 for k in range(round(length * 8))]),
                "eeg": f"{array}#{n}" if n < 3 else _fif(folder / f"{n}_raw.fif", rng.normal(0, 1e-5, (2, 500 * n))),
            }
        )
    return trials(rows)


def _fif(path: Path, volt: np.ndarray) -> str:
    return fif(path, volt, ["Cz", "Fz"])


def _processes() -> set[int]:
    """Living children of this process and theirs."""
    found = psutil.Process().children(recursive=True)
    return {p.pid for p in found if p.status() != psutil.STATUS_ZOMBIE}


@pytest.mark.parametrize("modality", ["vision", "audio", "eeg"])
def test_several_processes_give_the_same_bit_for_bit(table: pd.DataFrame, tmp_path: Path, modality: str) -> None:
    before = _processes()
    reports: list[tuple[int, int]] = []
    one = load_windows(table, modality, CONFIG, tmp_path / "one")
    two = load_windows(table, modality, CONFIG, tmp_path / "two", lambda *done: reports.append(done), jobs=2)
    assert reports == [(n, COUNT) for n in range(1, COUNT + 1)]
    assert one.meta == two.meta
    pd.testing.assert_frame_equal(one.index, two.index)
    assert one.values.tobytes() == two.values.tobytes()
    assert one.mask.tobytes() == two.mask.tobytes()
    assert _processes() == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_trial_that_cannot_be_read_is_the_one_that_is_named(
    table: pd.DataFrame, tmp_path: Path, jobs: int
) -> None:
    broken = table.copy()
    noise = np.random.default_rng(0).normal(0, 1e-5, (2, 20000))
    noise[0, -1] = np.nan
    broken.loc[2, "eeg"] = _fif(tmp_path / "nan_raw.fif", noise)
    broken.loc[3, "eeg"] = _fif(tmp_path / "short_raw.fif", np.full((2, 2), np.nan))  # it fails sooner
    with fails(RecordingError, where=("Subject 1, trial 3: ", "nan_raw.fif"), expected="finite"):
        load_windows(broken, "eeg", CONFIG, tmp_path / "cache", jobs=jobs)
    assert list((tmp_path / "cache" / "windows").iterdir()) == []


def test_a_killed_process_is_a_named_error(table: pd.DataFrame, tmp_path: Path) -> None:
    before = _processes()

    def kill(done: int, total: int) -> None:
        if done == 1:
            server = next(p for p in psutil.Process().children() if p.pid not in before)
            for member in server.children():
                member.send_signal(signal.SIGKILL)

    with fails(RecordingError, where="Subject 1, trial ", found="SIGKILL", remedy="fewer jobs"):
        load_windows(table, "eeg", CONFIG, tmp_path, kill, jobs=2)
    assert list((tmp_path / "windows").iterdir()) == []
    assert _processes() == before
    assert len(load_windows(table, "eeg", CONFIG, tmp_path, jobs=2)), "and it can be tried again"


def test_a_program_that_never_starts_is_an_error_too(table: pd.DataFrame, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with fails(RecordingError, found="exit code 1"):
        load_windows(table, "eeg", CONFIG, tmp_path, jobs=2)


def test_an_unexpected_error_keeps_its_traceback() -> None:
    row = TrialRow("1", "1", "1", "a", None, None, None)  # type: ignore[arg-type]
    with ReaderPool(2) as pool, pytest.raises(RuntimeError) as caught:
        list(pool.read(READERS["eeg"](CONFIG), [(row, [(0.0, 1.0)])] * 3, 2))
    assert "readers/eeg.py" in str(caught.value)
    assert "TypeError" in str(caught.value)


def test_an_interrupt_ends_the_processes_and_leaves_nothing(table: pd.DataFrame, tmp_path: Path) -> None:
    before = _processes()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_windows(table, "eeg", CONFIG, tmp_path, interrupt, jobs=2)
    assert _processes() == before
    assert list((tmp_path / "windows").iterdir()) == []


_CALLER = """
import signal
import sys
from pathlib import Path
import pandas as pd
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
sys.path[:0] = {tests!r}
from test_pool import CONFIG
from eavdash.store.processes import pool as module
from eavdash.data.inputs import load_windows
table = pd.read_pickle({table!r})
table = pd.concat([table.assign(subject=str(n)) for n in range(200)])
load_windows(table, "eeg", CONFIG, Path({cache!r}), lambda done, total: print(done, flush=True), jobs=2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_caller_that_is_stopped_takes_its_processes_along(table: pd.DataFrame, tmp_path: Path, number: int) -> None:
    """A script without `if __name__ == "__main__"`, ended from outside while it reads."""
    table.to_pickle(tmp_path / "table.pkl")
    script, cache = tmp_path / "caller.py", tmp_path / "cache"
    tests = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]
    script.write_text(_CALLER.format(tests=tests, table=str(tmp_path / "table.pkl"), cache=str(cache)))
    caller = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    assert caller.stdout.readline() == "1\n"
    made = psutil.Process(caller.pid).children(recursive=True)
    assert len(made) == 3
    os.kill(caller.pid, number)
    _, complaints = caller.communicate(timeout=30)
    assert caller.returncode != 0
    deadline = time.monotonic() + 20
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in made):
        assert time.monotonic() < deadline, "a process is left behind"
        time.sleep(0.05)
    left = list((cache / "windows").iterdir())
    if number == signal.SIGINT:
        assert left == []
        assert complaints.rstrip().endswith("KeyboardInterrupt")
    else:
        assert all(path.name.startswith(".") for path in left)
    load_windows(table.iloc[:1], "eeg", CONFIG, cache)
    assert [path.name for path in (cache / "windows").iterdir() if path.name.startswith(".")] == [], "swept"


def test_how_many_processes_fit() -> None:
    small, large = 10**6, 600 * 10**6
    assert jobs_within(1, small, small) == 1
    assert jobs_within(4, small, small) == 4
    assert jobs_within(64, small, small) < 64
    assert jobs_within(8, large, 10**6) == 1
    assert jobs_within(8, 10 * MEMORY, small) == 1, "one trial larger than the memory is read all the same"
    for reading in (10**7, 10**8, 3 * 10**8):
        n = jobs_within(1000, reading, reading // 6)
        assert n == 1 or LIBRARIES + n * (PROCESS + reading) + (n + 1) * (reading // 6) <= MEMORY
        assert LIBRARIES + (n + 1) * (PROCESS + reading) + (n + 2) * (reading // 6) > MEMORY or n == 1


def test_a_trial_too_large_for_two_is_read_by_one(table: pd.DataFrame, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(READERS["eeg"], "bytes_of", lambda self, seconds: round(seconds * 10**9))
    monkeypatch.setattr(ReaderPool, "read", lambda *_: pytest.fail("several processes"))
    assert len(load_windows(table, "eeg", CONFIG, tmp_path, jobs=8))


def test_no_more_than_one_result_waits_beside_those_being_read(
    table: pd.DataFrame, tmp_path: Path, monkeypatch
) -> None:
    """The first trial takes longest; the others must not pile up behind it."""
    long = _fif(tmp_path / "long_raw.fif", np.random.default_rng(1).normal(0, 1e-5, (2, 500_000)))
    spec = window_set_spec(trials([{"eeg": long}, *({"eeg": path} for path in table["eeg"])]), "eeg", CONFIG, tmp_path)
    spec.prepare()
    received: list[int] = []
    real = module.receive
    monkeypatch.setattr(module, "receive", lambda stream: received.append(1) or real(stream))
    ahead = []
    with ReaderPool(2) as pool:
        for place, _ in enumerate(pool.read(spec.reader, list(zip(spec.rows, spec.spans, strict=True)), 2)):
            ahead.append(len(received) - place)
    assert len(received) == len(ahead) == COUNT + 1
    assert max(ahead) == 3
