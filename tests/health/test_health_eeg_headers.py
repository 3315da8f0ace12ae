"""What the check says of EEG headers: one finding for each subject and kind, with names and numbers."""

from __future__ import annotations

from pathlib import Path

import mne
import pytest
from eeg_files import TEN20, brainvision, edf, eeglab, noise
from made_media import fif

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.health.check import check_dataset
from eavdash.health.report import Finding, HealthReport

QUICK = preset("quick")


def check(folder: Path, files: list[str], *settings: str) -> HealthReport:
    """Check files of one subject each, without a cache."""
    rows = [f"{n},1,{'ab'[n % 2]},{Path(file).name}" for n, file in enumerate(files)]
    (folder / "trials.csv").write_text("\n".join(["subject,trial,label,eeg", *rows]))
    return check_dataset(folder, config=with_settings(QUICK, settings), faces=False)


def about(report: HealthReport, text: str) -> list[Finding]:
    return [finding for finding in report.findings if text in finding.message]


def test_channels_that_are_passed_over(tmp_path: Path) -> None:
    path = edf(tmp_path / "a.edf", noise(22, 3), [*TEN20, "probe", "ECG", "Accel X"])
    report = check(tmp_path, [path])
    (passed,), (skipped,) = about(report, "passed over"), about(report, "something else")
    assert (passed.severity, "1 of 20: probe" in passed.message, "eeg.montage=file" in passed.remedy) == (
        "warning",
        1,
        1,
    )
    assert (skipped.severity, "ECG; Accel X" in skipped.message) == ("info", True)
    assert not about(check(tmp_path, [path], "eeg.montage=file"), "passed over")


def test_most_channels_passed_over_is_an_error(tmp_path: Path) -> None:
    report = check(tmp_path, [edf(tmp_path / "a.edf", noise(5, 3), ["Cz", "p1x", "p2x", "p3x", "p4x"])])
    (error,) = about(report, "1 of 5 EEG channels")
    assert error.severity == "error"


@pytest.mark.parametrize(("setting", "severity"), [("", "warning"), ("average", "info")])
def test_different_references(tmp_path: Path, setting: str, severity: str) -> None:
    files = [
        edf(tmp_path / f"{end}.edf", noise(19, 3), [f"EEG {name.upper()}-{end}" for name in TEN20])
        for end in ("REF", "LE")
    ]
    (finding,) = about(check(tmp_path, files, f"eeg.reference={setting}"), "different references")
    assert finding.severity == severity
    assert "REF in 1 file, LE in 1 file" in finding.message


def test_different_systems(tmp_path: Path) -> None:
    names = [f"{bank}{n}" for bank in "ABCD" for n in range(1, 33)]
    files = [
        fif(tmp_path / "a_raw.fif", noise(19, 3) * 1e-6, TEN20),
        fif(tmp_path / "b_raw.fif", noise(128, 3) * 1e-6, names),
    ]
    (finding,) = about(check(tmp_path, files), "different systems")
    assert finding.severity == "error"


@pytest.mark.parametrize("on", [True, False])
def test_marks_are_reported_and_say_what_becomes_of_them(tmp_path: Path, on: bool) -> None:
    info = mne.create_info([*TEN20], 100.0, "eeg")
    info["bads"] = ["Fz"]
    raw = mne.io.RawArray(noise(19, 4) * 1e-6, info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([0.5, 1.0], [1.0, 1.5], ["BAD_a", "BAD_b"]))
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    settings = [f"eeg.reject_marked={str(on).lower()}", f"eeg.bad_channels={'interpolate' if on else 'keep'}"]
    report = check(tmp_path, [str(tmp_path / "a_raw.fif")], *settings)
    (channels,), (spans,) = about(report, "marks as bad"), about(report, "BAD annotations")
    assert {channels.severity, spans.severity} == {"info" if on else "warning"}
    assert "Fz" in channels.message
    assert "2 s of 4 s" in spans.message


def test_a_foreign_companion_and_a_missing_one(tmp_path: Path) -> None:
    eeglab(tmp_path / "a.set", noise(19, 3), samples="a.fdt")
    files = [eeglab(tmp_path / "b.set", noise(19, 3), samples="a.fdt")]
    files += [brainvision(tmp_path / f"{n}.vhdr", noise(19, 3), samples="old.eeg") for n in range(4)]
    report = check(tmp_path, files)
    (foreign,) = about(report, "b.set names a.fdt")
    assert foreign.severity == "warning"
    assert len(about(report, "old.eeg")) == 4
    assert not about(report, "same content")


@pytest.mark.parametrize(("gaps", "severity"), [("refuse", "info"), ("ignore", "warning")])
def test_an_interrupted_recording(tmp_path: Path, gaps: str, severity: str) -> None:
    edf(tmp_path / "a.edf", noise(19, 4), TEN20, kind="EDF+D", onsets=[0, 1, 20, 21])
    (tmp_path / "trials.csv").write_text("subject,trial,label,start,stop,eeg\n1,1,a,20,22,a.edf\n1,2,b,5,6,a.edf\n")
    report = check_dataset(tmp_path, config=with_settings(QUICK, [f"eeg.gaps={gaps}"]), faces=False)
    refused = gaps == "refuse"
    assert [f.severity for f in about(report, "interrupted recording (a.edf")] == [severity]
    errors = [f for f in report.findings if f.severity == "error"]
    assert len(errors) == (1 if refused else 2)
    assert ("without a gap" in errors[0].message) == refused
