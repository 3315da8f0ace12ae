"""The corpus of broken and odd inputs: each gives its named finding and its named error, or is read correctly."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import broken_archives
import broken_eeg
import broken_sound
import broken_tables
import broken_trees
import broken_video
import pytest
from broken import COLUMNS, Dataset, Recording, make_corpus
from failing import fails

from eavdash.config.choices import COLUMN
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.data.inputs import load_windows
from eavdash.data.preview import trial_preview
from eavdash.data.table import TrialTable, open_table
from eavdash.errors import EavdashError, RecordingError, TableError, UsageError
from eavdash.health import check
from eavdash.health.check import check_dataset
from eavdash.health.measures.base import MeasureRequest
from eavdash.health.measures.measure import measure_file
from eavdash.health.report import Finding, HealthReport

RECORDINGS = {"vision": broken_video.CASES, "audio": broken_sound.CASES, "eeg": broken_eeg.CASES}
DATASETS = [*broken_tables.CASES, *broken_trees.CASES, *broken_archives.CASES]
EACH = [pytest.param(m, case, id=f"{m}: {case.name}") for m, cases in RECORDINGS.items() for case in cases]
CONFIG = with_settings(preset("quick"), ["window=2", "vision.size=16", "vision.patch=8", "vision.crop=centre"])
SECONDS = 60.0  # the most that a check of the corpus may take on a busy machine


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), RECORDINGS)


@pytest.fixture(scope="module")
def table(corpus: Path) -> TrialTable:
    return open_table(corpus)


@pytest.fixture(scope="module")
def report(corpus: Path) -> HealthReport:
    """One check of all recordings."""
    begin = time.monotonic()
    report = check_dataset(corpus, config=CONFIG, faces=False)
    assert time.monotonic() - begin < SECONDS
    return report


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure files in this process: a dataset for each case would start as many processes."""

    def run(requests: Sequence[MeasureRequest]) -> Iterator[tuple[MeasureRequest, dict[str, object]]]:
        yield from ((what, measure_file(what)) for what in requests)

    monkeypatch.setattr(check, "scan", partial(check.scan, run=run))


def findings_matching(report: HealthReport, severities: Sequence[str], pattern: str) -> list[Finding]:
    """The findings of these severities that say so, in the message or by naming the file."""
    of = [f for f in report.findings if f.severity in severities]
    return [f for f in of if re.search(pattern, f"{f.file}: {f.message}; {f.remedy}")]


def test_there_are_enough_cases() -> None:
    cases = [case for of in RECORDINGS.values() for case in of]
    names = [*(case.name for case in cases), *(case.name for case in DATASETS)]
    assert len(set(names)) == len(names)
    assert len({case.file for case in cases}) == len(cases)
    assert len(names) >= 200
    bad = [*(c for c in cases if c.finding or c.error), *(d for d in DATASETS if d.finding or d.opening_error)]
    assert len(bad) >= 140


def test_the_check_ends_and_can_be_shown(report: HealthReport, table: TrialTable) -> None:
    json.loads(json.dumps(report.to_dict()))
    assert not report.ok
    assert len(report.table) == len(table.subjects) == len(EACH)
    assert not findings_matching(report, ["error"], r" failed: |crashes its decoder|still being read")
    assert all(f.message and f.remedy for f in report.findings)


@pytest.mark.parametrize(("modality", "case"), EACH)
def test_every_recording_is_checked(report: HealthReport, modality: str, case: Recording) -> None:
    about = [f for f in report.findings if f.subject == case.name and f.modality == modality]
    serious = [f for f in about if f.severity in ("error", "warning")]
    row = report.table.set_index("subject").loc[case.name]
    if case.finding:
        assert [f.severity for f in serious] == [case.severity]
        assert re.search(case.finding, serious[0].message)
        assert case.file in serious[0].file
        assert Path(case.file).name in f"{serious[0].file} {serious[0].message}"
    else:
        assert not serious
    assert row[modality] == (case.severity != "error" or not case.finding)


@pytest.mark.parametrize(("modality", "case"), EACH)
def test_every_recording_is_read_or_refused(
    corpus: Path, table: TrialTable, tmp_path: Path, modality: str, case: Recording
) -> None:
    trials = table.frame[table.frame["subject"] == case.name]
    if case.error:
        with fails(RecordingError, where=(f"Subject {case.name}, trial 1: ", case.file)) as error:
            load_windows(trials, modality, CONFIG, tmp_path)
        assert re.search(case.error, str(error.value))
        assert list(tmp_path.glob("windows/*")) == []
    else:
        assert len(load_windows(trials, modality, CONFIG, tmp_path)) >= 1
    preview = trial_preview(trials.iloc[0], CONFIG)
    if modality in preview.errors:
        assert case.error
        assert case.file in preview.errors[modality]
    else:  # what is shown is a part, or less than all of it
        assert getattr(preview, modality) is not None
    if case.content is not None:
        case.content(f"{corpus / case.file}{case.item}")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("case", DATASETS, ids=lambda case: case.name)
def test_every_dataset_is_checked(case: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = case.make(folder)
    report = check_dataset(path, config=CONFIG, faces=False)
    json.loads(json.dumps(report.to_dict()))
    assert not findings_matching(report, ["error"], " failed: ")
    if case.opening_error:
        with pytest.raises((TableError, UsageError)) as error:
            open_table(path)
        assert re.search(case.opening_error, str(error.value))
        assert len(report.findings) == 1
        assert findings_matching(report, ["error"], case.opening_error)
        return
    if case.finding:
        assert findings_matching(report, [case.severity], case.finding)
        assert report.ok == (case.severity != "error")
    else:
        assert report.ok
    if case.content is not None:
        case.content(path)
        return
    frame = open_table(path).frame.groupby("subject").head(1)
    for modality, column in COLUMN.items():
        if (frame[column] != "").any():
            with suppress(EavdashError):  # which one, the other tests say
                load_windows(frame, modality, CONFIG, tmp_path / "cache")
    for row in frame.to_dict("records"):
        trial_preview(row, CONFIG)
    assert not list(Path.cwd().glob("hacked")), "a pickle was run"


CHECK = """
import json, sys
from functools import partial
from eavdash.health import check
from eavdash.health.check import check_dataset
from eavdash.health.measures.measure import measure_file
check.scan = partial(check.scan, run=lambda requests: ((what, measure_file(what)) for what in requests))
for path in sys.argv[1:]:
    print(json.dumps(check_dataset(path, faces=False).to_dict()["findings"]))
"""


def without_privileges() -> None:
    """Permissions hold for root too, once it may neither pass over them nor read what they close (in capabilities(7):
    CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, dropped by PR_CAPBSET_DROP); of others, nothing is taken.
    """
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability)


def test_what_may_not_be_read(tmp_path: Path) -> None:
    cases = {"a.wav": broken_sound.sound(), "a.mp4": lambda p: broken_video.movie(p, [0, 0.1, 0.2])}
    cases |= {"a.edf": broken_eeg.edf, "a.mat": broken_eeg.packed}
    lines = [
        "subject,trial,label,eeg,audio,video",
        "1,1,a,a.edf,,",
        "2,1,a,a.mat#1,,",
        "3,1,a,,a.wav,",
        "4,1,a,,,a.mp4",
    ]
    for name, make in cases.items():
        make(tmp_path / name)
        (tmp_path / name).chmod(0)
    for name in ("trials.csv", "closed.csv"):
        (tmp_path / name).write_text("\n".join(lines))
    (tmp_path / "closed.csv").chmod(0)
    for name in ("closed", "eav/subject1/EEG/closed", "eav/subject2/closed"):
        (tmp_path / name).mkdir(parents=True)
    closed = sorted(tmp_path.rglob("closed"))
    for folder in closed:
        folder.chmod(0)
    asked = [sys.executable, "-c", CHECK, *(str(tmp_path / n) for n in ("trials.csv", "closed.csv", "closed", "eav"))]
    ended = subprocess.run(asked, capture_output=True, text=True, timeout=120, preexec_fn=without_privileges)
    for folder in closed:
        folder.chmod(0o755)
    assert ended.returncode == 0, ended.stderr
    files, table, alone, eav = map(json.loads, ended.stdout.splitlines())
    bad = [f for f in files if f["severity"] == "error"]
    assert {Path(f["file"].partition("#")[0]).name for f in bad} == set(cases), [f["message"] for f in bad]
    assert all("ermission" in f["message"] for f in bad)
    assert "Permission denied" in table[0]["message"]
    assert "Permission denied" in alone[0]["message"]
    assert any(f["severity"] == "error" for f in eav)


def test_columns_are_those_of_the_program() -> None:
    assert COLUMNS == COLUMN
