"""Every file under checkpoints/ is damaged in every way; no command and no page may answer with a traceback.

Each test damages one file of a study beside a sound one. ``python -m pytest tests/test_damage.py -m slow -s`` prints
how many pairs of damage and command or page were tried.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fake_study import make_explanation, make_study
from streamlit import config
from streamlit.testing.v1 import AppTest

from eavdash.cli.main import main
from eavdash.explain.explanation import save_explanation
from eavdash.jobs import obstacle, queue
from eavdash.jobs.broker import Broker
from eavdash.jobs.reconcile import reconcile
from eavdash.results import probes
from eavdash.store import StudyDir, datasets

ROOT = Path(__file__).resolve().parents[1]
PAGES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "pages").rglob("*.py"))]
SOUND, DAMAGED = "sound", "victim"
#: The damaged file, relative to the checkpoints folder.
FILES = [
    ".datasets.json",
    ".queue/queue.sqlite",
    *(f"{DAMAGED}/{name}" for name in ("study.json", "control.json", "splits.csv", "trials.csv", "probes.json")),
    *(f"{DAMAGED}/s01-eeg/{name}" for name in ("config.json", "status.json", "metrics.jsonl", "predictions.parquet")),
    f"{DAMAGED}/s01-eeg/log.txt",
    *(f"{DAMAGED}/s01-fusion/{name}" for name in ("config.json", "status.json", "attention.parquet")),
    f"{DAMAGED}/s01-fusion/baselines.parquet",
    f"{DAMAGED}/s01-fusion/predictions.parquet",
    *(f"{DAMAGED}/s01-fusion/explain/*{ending}" for ending in (".json", ".npz")),
]
COMMANDS = [
    ["status"],
    ["status", DAMAGED],
    ["status", DAMAGED, "--json"],
    ["studies"],
    ["studies", "--archived", "--json"],
    ["results", DAMAGED],
    ["results", DAMAGED, "--baselines", "--by", "fold,seed", "--format", "json"],
    ["results", DAMAGED, "--level", "window", "--format", "csv"],
    ["results", SOUND, "--format", "latex"],
    ["logs", f"{DAMAGED}/s01-eeg"],
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


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a number": lambda _: b"5",
    "an empty object": lambda _: b"{}",
    "null": lambda _: b"null",
    "a list": lambda _: b"[1, 2]",
    "brackets": lambda _: b"[" * 100_000,
    "nested keys": lambda _: b'{"config": ' * 50_000,
    "half": _half,
    "flipped bits": _flipped,
    "noise": lambda content: random.Random(1).randbytes(len(content) or 100),
    "zeros": lambda content: bytes(len(content) or 100),
    "other types": _other_types,
    "hostile values": _hostile,
    "long digits": lambda _: b'{"state": ' + b"9" * 10_000 + b"}",
}


def _as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _as_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _as_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nowhere")


def _as_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


REPLACED = {
    "missing": Path.unlink,
    "a folder": _as_folder,
    "a pipe": _as_pipe,
    "a dead link": _as_link,
    "a loop": _as_loop,
}


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


def _damaged(root: Path, pattern: str, damage: str) -> Path:
    (file,) = root.glob(pattern)
    if damage in REPLACED:
        REPLACED[damage](file)
    else:
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(DAMAGES[damage](content))
    return file


def _command_fault(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is wrong with the answer of a command; empty if nothing is."""
    capsys.readouterr()
    try:
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


def _page_faults(pages: Sequence[str], study: str) -> dict[str, str]:
    """Return what is wrong with each page that is; the pages are opened one after another in one session."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["study"] = study
    config.set_option("client.showErrorDetails", "full")
    found = {}
    for page in pages:
        app.switch_page(page).run()
        if app.exception:
            found[page] = "; ".join(str(each.message) for each in app.exception)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("file", FILES)
def test_no_command_and_no_page_answers_damage_with_a_traceback(
    file: str, folder: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    faults, tried = [], 0
    for damage in (*DAMAGES, *REPLACED):
        root = folder()
        _damaged(root, file, damage)
        tried += len(PAGES)
        faults += [(damage, page, fault) for page, fault in _page_faults(PAGES, DAMAGED).items()]
        try:
            reconcile(root, Broker(root))
        except Exception as error:
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
    assert not faults


def test_a_planted_traceback_is_found(
    folder: Callable[[], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder()
    with monkeypatch.context() as planted:
        planted.setattr("eavdash.cli.console.studies_frame", lambda *_: 1 / 0)
        assert "ZeroDivisionError" in _command_fault(["status"], capsys)
        planted.setattr("eavdash.ui.cached_runs.snapshot", lambda *_: 1 / 0)
        page = "pages/training/monitor.py"
        assert "division" in _page_faults([page], DAMAGED)[page]
    assert _command_fault(["status"], capsys) == ""
