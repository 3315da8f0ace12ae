"""Files under checkpoints/ are damaged in many ways; no command and no page may answer with a traceback, or hang.

Each test damages one file of a study, or two at once, beside a sound study. ``python -m pytest tests/test_damage.py -m
slow -s`` prints how many pairs of damage and command or page were tried.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pandas as pd
import pytest
from damage import fifo
from damage import folder as folder_in_place
from fake_study import CLASSES, make_explanation, make_study
from streamlit import config
from streamlit.testing.v1 import AppTest

from eavdash.cli.main import main
from eavdash.data.frozen import frozen_bytes
from eavdash.data.table import TrialTable
from eavdash.errors import EavdashError
from eavdash.explain.explanation import save_explanation
from eavdash.jobs import obstacle, queue
from eavdash.jobs.broker import Broker
from eavdash.jobs.reconcile import reconcile
from eavdash.results import probes
from eavdash.store import StudyDir, datasets

ROOT = Path(__file__).resolve().parents[1]
PAGES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "pages").rglob("*.py"))]
SOUND, DAMAGED = "sound", "victim"
RUNS = ("s01-eeg", "s01-fusion")
MONITOR, SEARCH = "pages/training/monitor.py", "training_monitor_log_search"
SECONDS = 60  # in which a command or a page must answer
#: The damaged file, relative to the checkpoints folder, or two files with a blank between them.
FILES = [
    ".datasets.json",
    ".queue/queue.sqlite",
    *(f"{DAMAGED}/{name}" for name in ("study.json", "control.json", "splits.csv", "trials.csv", "trials.parquet")),
    f"{DAMAGED}/probes.json",
    *(f"{DAMAGED}/s01-eeg/{name}" for name in ("config.json", "status.json", "metrics.jsonl", "predictions.parquet")),
    *(f"{DAMAGED}/s01-eeg/{name}" for name in ("model.safetensors", "log.txt")),
    f"{DAMAGED}/s01-eeg/status.json {DAMAGED}/s01-eeg/metrics.jsonl",
    f"{DAMAGED}/s01-eeg/config.json {DAMAGED}/s01-eeg/log.txt",
    *(f"{DAMAGED}/s01-fusion/{name}" for name in ("status.json", "predictions.parquet", "attention.parquet")),
    *(f"{DAMAGED}/s01-fusion/{name}" for name in ("baselines.parquet", "shapley.parquet")),
    *(f"{DAMAGED}/s01-fusion/explain/*{ending}" for ending in (".json", ".npz")),
]
COMMANDS = [
    ["status"],
    ["status", DAMAGED],
    ["studies", "--archived", "--json"],
    ["results", DAMAGED, "--baselines", "--by", "fold,seed", "--format", "json"],
    ["results", DAMAGED, "--split", "label"],
    ["results", SOUND, "--format", "latex"],
    ["logs", f"{DAMAGED}/s01-eeg"],
    ["logs", f"{DAMAGED}/s01-eeg", "--lines", "2"],
    ["verify", DAMAGED],
    ["pause", DAMAGED],
    ["resume", DAMAGED],
    ["prioritise", DAMAGED, "3"],
    ["cancel", DAMAGED],
    ["retry", DAMAGED],
    ["retry", DAMAGED, "--run", "s01-eeg"],
    ["extend", DAMAGED, "--seeds", "1"],
    ["clone", DAMAGED, "other", "--dry-run"],
    ["relocate", DAMAGED, "/nowhere/else"],
    ["explain", DAMAGED, "--subject", "1", "--trial", "1"],
    ["probe", DAMAGED, "--probes", "time"],
    ["shapley", DAMAGED, "--json"],
    ["cache", "list"],
    ["archive", DAMAGED],
    ["unarchive", DAMAGED],
    ["delete", DAMAGED, "--yes"],
]


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    noise = random.Random(len(content))
    changed = bytearray(content or b"x")
    for _ in range(20):
        changed[noise.randrange(len(changed))] ^= 1 << noise.randrange(8)
    return bytes(changed)


def _other_types(content: bytes) -> bytes:
    """Give every key of a JSON document a value of another type; leave other files alone."""
    try:
        found = json.loads(content)
    except ValueError:
        return content[::-1]
    return json.dumps({key: [[value]] for key, value in found.items()} if isinstance(found, dict) else {}).encode()


def _hostile(content: bytes) -> bytes:
    """Give every key of a JSON document a number that no table can hold, or a long text with markup."""
    try:
        found = json.loads(content)
    except ValueError:
        return b"=cmd(),<a href=x>\x00\x1b[31m\n" * 50
    huge = {key: 10**30 if isinstance(value, int) else "\x1b[31m<b>" * 500 for key, value in dict(found).items()}
    return json.dumps(huge).encode()


def _rows(content: bytes) -> bytes:
    """Put lines of other types before the lines of a file."""
    lines = [
        b"[1]",
        b"[" * 50_000,
        b"\xff\xfe",
        b"5",
        b"null",
        b'{"epoch": "x"}',
        b'{"epoch": 1e999}',
        b'{"epoch": [1]}',
    ]
    return b"\n".join([*lines, b'{"epoch": 3, "loss": "x"}', b'{"epoch": 2000000000000000000000}', content])


#: For every file.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": _half,
    "flipped bits": _flipped,
}
#: For tables, arrays and weights.
OF_BYTES = {"zeros": lambda content: bytes(len(content) or 100)}
#: For what is text, such as JSON.
OF_TEXT: dict[str, Callable[[bytes], bytes]] = {
    "null": lambda _: b"null",
    "a list": lambda _: b"[1, 2]",
    "brackets": lambda _: b"[" * 100_000,
    "nested keys": lambda _: b'{"config": ' * 50_000,
    "other types": _other_types,
    "hostile values": _hostile,
    "long digits": lambda _: b'{"state": ' + b"9" * 10_000 + b"}",
    "wrong rows": _rows,
}


def _as_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nowhere/else")  # in no folder: SQLite makes the file that a link names


def _as_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


def _as_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


REPLACED = {
    "missing": Path.unlink,
    "a folder": folder_in_place,
    "a pipe": fifo,
    "a dead link": _as_link,
    "a loop": _as_loop,
    "a device": _as_device,
}


def _damages(file: str) -> list[str]:
    """Return the damages that are tried on a file."""
    text = file.endswith((".json", ".jsonl", ".txt", ".csv"))
    return [*DAMAGES, *(OF_TEXT if text else OF_BYTES), *REPLACED]


def write_tables(study: StudyDir) -> None:
    """Write trials.csv and trials.parquet of a study as planning does; no recording exists."""
    splits = pd.read_csv(study.splits_file, dtype=str)
    frame = splits[["subject", "trial", "group"]].assign(condition="Speaking", label="Anger", start=0.0, stop=20.0)
    frame = frame.assign(eeg="/nowhere/EAV/a.mat#1", audio="/nowhere/EAV/a.wav", video="/nowhere/EAV/a.mp4")
    frame["label"] = [CLASSES[number % len(CLASSES)] for number in range(len(frame))]
    study.table_file.write_bytes(frozen_bytes(TrialTable(frame, Path("/nowhere/EAV"), "eav")))
    frame[["subject", "trial", "label"]].to_csv(study.trials_file, index=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoints folder with two finished studies, explanations, probes, a dataset and a queue."""
    root = tmp_path_factory.mktemp("whole")
    for name in (SOUND, DAMAGED):
        study = make_study(root, name, subjects=("1", "2"), trials=4, states={"s02-eeg": "failed"})
        study.set_control(paused=False)
        save_explanation(study.run("s01-fusion"), make_explanation(study, "s01-fusion", "1", "1"))
        probes.keep(study, {"time": probes.finding("time", 0.4, 8, 8, 5, 0.2)})
        (study.run("s01-eeg").path / "log.txt").write_text("one line\n")
        write_tables(study)
    datasets.add(root, "mine", "/nowhere/EAV")
    Broker(root).close()
    return root


@pytest.fixture
def folder(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Function that makes a fresh copy of the checkpoints folder. No scheduler is started."""
    monkeypatch.chdir(ROOT)
    for module in (queue, obstacle):
        monkeypatch.setattr(module, "ensure_scheduler", lambda *_: False)
    root = tmp_path / "checkpoints"
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(root))

    def fresh() -> Path:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(whole, root, symlinks=True)
        return root

    return fresh


def _damaged(root: Path, patterns: str, damage: str) -> None:
    for pattern in patterns.split():
        (file,) = root.glob(pattern)
        if damage in REPLACED:
            REPLACED[damage](file)
        else:
            content = file.read_bytes()
            file.unlink()
            file.write_bytes({**DAMAGES, **OF_BYTES, **OF_TEXT}[damage](content))


class Hang(BaseException):
    """Something has taken too long."""


@contextmanager
def watched() -> Iterator[None]:
    """Raise :class:`Hang` in the block after :data:`SECONDS`."""

    def end(*_: object) -> None:
        raise Hang(f"after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _command_fault(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is wrong with the answer of a command; empty if nothing is."""
    capsys.readouterr()
    try:
        with watched():
            code = main(command)
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException as error:  # any other way to end is the fault that is looked for
        return f"{type(error).__name__}: {error}"
    out, err = capsys.readouterr()
    if "Traceback" in out + err:
        return "a traceback"
    if "\x1b" in out + err:
        return "a control character"
    return "" if code in (0, 1, 2) else f"exit code {code}"


def _page_faults(pages: Sequence[str], study: str, chosen: Sequence[str] = ()) -> dict[str, str]:
    """Return what is wrong with each page that is; the pages are opened one after another in one session.

    ``chosen``: the runs that are selected on the monitor.
    """
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=SECONDS)
    app.query_params["study"] = study
    config.set_option("client.showErrorDetails", "full")
    found = {}
    for page in pages:
        try:
            if page == MONITOR:
                app.session_state["training_monitor_chosen"] = list(chosen)
            app.switch_page(page).run()
            if page == MONITOR and any(box.key == SEARCH for box in app.text_input):
                faults = [each.message for each in app.exception]
                app.text_input(key=SEARCH).set_value("line").run()
                assert not faults, faults
        except (RuntimeError, AssertionError) as error:  # of Streamlit: it has waited long enough
            found[page] = str(error)
        else:
            if app.exception:
                found[page] = "; ".join(str(each.message) for each in app.exception)
    return found


def _release(root: Path) -> None:
    """Let go of threads that wait for a writer of a pipe."""
    for path in root.rglob("*"):
        if path.is_fifo():
            with suppress(OSError):  # nobody waits
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.slow
@pytest.mark.timeout(1200, method="thread")  # SIGALRM is that of a single command
@pytest.mark.parametrize("file", FILES)
def test_no_command_and_no_page_answers_damage_with_a_traceback(
    file: str, folder: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    faults, tried = [], 0
    run = re.search(r"s01-\w+", file)
    for damage in _damages(file):
        root = folder()
        _damaged(root, file, damage)
        tried += len(PAGES)
        faults += [
            (damage, page, fault) for page, fault in _page_faults(PAGES, DAMAGED, [run[0]] if run else RUNS).items()
        ]
        _release(root)
        try:
            with watched(), closing(Broker(root)) as broker:
                reconcile(root, broker)
        except EavdashError:
            pass  # one sentence
        except (Exception, Hang) as error:
            faults.append((damage, "scheduler", repr(error)))
        for command in COMMANDS:
            if command[0] in ("extend", "relocate", "delete"):  # these change the folder: damage it again
                root = folder()
                _damaged(root, file, damage)
            tried += 1
            if fault := _command_fault(command, capsys):
                faults.append((damage, " ".join(command), fault))
        assert StudyDir(root / SOUND).runs()
    with capsys.disabled():
        print(f" {file}: {tried} tried, {len(faults)} faults")
    assert not faults, "\n".join(f"{damage} · {where} · {fault[:600]}" for damage, where, fault in faults)


def test_a_planted_hang_is_found(
    folder: Callable[[], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = folder().with_name("pipe")
    os.mkfifo(pipe)
    monkeypatch.setattr("test_damage.SECONDS", 2)
    monkeypatch.setattr("eavdash.cli.console.studies_frame", lambda *_: pipe.read_bytes())
    assert "Hang" in _command_fault(["status"], capsys)


def test_a_planted_traceback_is_found(
    folder: Callable[[], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder()
    with monkeypatch.context() as planted:
        planted.setattr("eavdash.cli.console.studies_frame", lambda *_: 1 / 0)
        assert "ZeroDivisionError" in _command_fault(["status"], capsys)
        planted.setattr("eavdash.ui.cached_runs.snapshot", lambda *_: 1 / 0)
        assert "division" in _page_faults([MONITOR], DAMAGED)[MONITOR]
    assert _command_fault(["status"], capsys) == ""
