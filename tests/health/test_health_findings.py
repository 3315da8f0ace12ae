"""Findings: every planted defect gives its one finding, with severity and remedy; clean recordings give none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import array_files
import eav_files
import made_media
import numpy as np
import pandas as pd
import pytest
from failing import fails
from health_files import brain, film, finding_with, moving, table, voice

from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.errors import UsageError
from eavdash.health import pairing, rules
from eavdash.health.check import check_dataset
from eavdash.health.report import NUMBERS, TEXTS, HealthReport, write_csv
from eavdash.health.scan import EXTRAS
from eavdash.report.figures.health_tables import folds_table, outlook_table

NAMES = ["Fp1", "Fp2", "C3", "Cz"]


def report_on(folder: Path, *lines: str, settings: tuple[str, ...] = ()) -> HealthReport:
    made = check_dataset(table(folder, *lines), config=with_settings(StudyConfig(), settings), faces=False)
    assert all(f.message and f.severity in ("error", "warning", "info") for f in made.findings)
    assert len(made.findings) == len(set(made.findings))
    return made


def rows(modality: str, *measures: dict[str, object]) -> pd.DataFrame:
    """Recordings of one subject with some measures."""
    empty = dict.fromkeys(NUMBERS, np.nan) | dict.fromkeys((*TEXTS, *EXTRAS), "")
    known = {"subject": "1", "modality": modality, "duration": 20.0, "stop": np.nan, "start": 0.0, "whole": False}
    return pd.DataFrame([{**empty, **known, "trial": str(n), **m} for n, m in enumerate(measures, start=1)])


def findings_of(modality: str, *measures: dict[str, object], settings: tuple[str, ...] = ()) -> list[rules.Finding]:
    return rules.findings_of(rows(modality, *measures), with_settings(StudyConfig(), settings))


CLEAN = {
    "audio": {"clipped": 0.0009, "silent": 0.4, "rms": -59.0, "rate": 16000.0},
    "eeg": {"flat": 0, "saturated": 0, "channels": 30, "amplitude": 150.0, "line_noise": 9.0, "line_frequency": 50.0},
    "vision": {
        **{"black": 0.4, "frozen": 0.4, "longest_gap": 0.9, "rate": 30.0, "variable_rate": 0.0, "rotation": 0.0},
        **{"sound_offset": 0.4, "faces_found": 3, "faces_looked": 5},
    },
}


@pytest.mark.parametrize(
    ("modality", "measures", "severity", "words"),
    [
        ("audio", {"clipped": 0.0123}, "warning", "clipped sound in 1 of 2 trials (trial 2: 1.2 % of its samples)"),
        ("audio", {"silent": 1.0, "rms": np.nan}, "warning", "digital silence in 1 of 2 trials (trial 2: 100 % of it)"),
        ("audio", {"silent": 1.0, "rms": -80.0, "clipped": 1.0}, "warning", "digital silence"),
        ("audio", {"rms": -66.2}, "warning", "very quiet sound in 1 of 2 trials (trial 2: 66 dB below full scale)"),
        ("audio", {"rate": 8000.0}, "info", "sound sampled below 16000 Hz in 1 of 2 trials (trial 2: 8000 Hz)"),
        ("audio", {"duration": 4.0}, "warning", "recordings much shorter than the subject's others"),
        (
            "eeg",
            {"flat": 2, "flat_channels": "T7, Cz"},
            "warning",
            "flat EEG channels in 1 of 2 trials (trial 2: T7",
        ),
        ("eeg", {"flat": 30, "amplitude": 0.0}, "warning", "no signal in any EEG channel"),
        ("eeg", {"saturated": 1, "saturated_channels": "O1"}, "warning", "saturated EEG channels in 1 of 2"),
        ("eeg", {"amplitude": 0.00015}, "warning", "EEG with an implausible amplitude in 1 of 2 trials"),
        ("eeg", {"amplitude": 2e5}, "warning", "(trial 2: 2e+05 µV)"),
        ("eeg", {"line_noise": 120.0}, "info", "line noise at 50 Hz in 1 of 2 trials (trial 2: 120 times the power"),
        ("vision", {"black": 1.0, "frozen": 1.0, "faces_found": 0}, "warning", "black video in 1 of 2 trials"),
        (
            "vision",
            {"frozen": 0.75},
            "warning",
            "frozen video in 1 of 2 trials (trial 2: 75 % of it without",
        ),
        ("vision", {"longest_gap": 2.5}, "warning", "a gap in the video in 1 of 2 trials (trial 2: 2.5 s without"),
        ("vision", {"variable_rate": 1.0}, "info", "variable frame rate"),
        ("vision", {"rotation": 90.0}, "info", "rotated video in 1 of 2 trials (trial 2: by 90 degrees)"),
        ("vision", {"sound_offset": -0.7}, "info", "(trial 2: the sound 0.70 s earlier)"),
        ("vision", {"faces_found": 2}, "warning", "no face found in 1 of 2 trials (trial 2: in 3 of 5 pictures)"),
    ],
)
def test_each_rule_finds_its_defect_alone(
    modality: str, measures: dict[str, object], severity: str, words: str
) -> None:
    assert findings_of(modality, CLEAN[modality], CLEAN[modality]) == []
    (finding,) = findings_of(modality, CLEAN[modality], {**CLEAN[modality], **measures})
    assert words in finding.message
    assert (finding.severity, finding.subject, finding.modality) == (severity, "1", modality)
    assert finding.remedy


def test_rules_depend_on_how_the_recordings_would_be_read() -> None:
    noisy = {**CLEAN["eeg"], "line_noise": 100.0}
    assert findings_of("eeg", noisy)[0].severity == "info"
    open_band = findings_of("eeg", noisy, settings=("eeg.high=70",))[0]
    assert (open_band.severity, open_band.remedy) == ("warning", "set eeg.notch=50, or eeg.high to 48 at most")
    assert findings_of("eeg", noisy, settings=("eeg.high=70", "eeg.notch=50"))[0].severity == "info"
    faceless = {**CLEAN["vision"], "faces_found": 0}
    assert findings_of("vision", faceless, settings=("vision.crop=centre",)) == []
    assert findings_of("audio", CLEAN["audio"], settings=("audio.rate=44100",))[0].severity == "info"


def test_many_trials_are_one_finding_with_three_examples() -> None:
    (finding,) = findings_of("audio", CLEAN["audio"], *[{**CLEAN["audio"], "clipped": 0.1}] * 7)
    assert "clipped sound in 7 of 8 trials (trial 2: 10 % of its samples; trial 3: " in finding.message
    assert finding.message.endswith("; 4 more)")


def test_clean_recordings_of_three_modalities_give_no_finding(tmp_path: Path) -> None:
    lines = []
    for n in range(1, 5):
        made_media.wav(tmp_path / f"{n}.wav", voice(3, seed=n))
        film(tmp_path / f"{n}.mp4", seconds=3.1, seed=n)
        made_media.fif(tmp_path / f"{n}_raw.fif", brain(4, 3, seed=n), NAMES)
        lines.append(f"1,{n},{'ab'[n % 2]},{n},,,{n}_raw.fif,{n}.wav,{n}.mp4")
    report = report_on(tmp_path, *lines)
    assert report.findings == ()
    assert len(report.recordings) == 12
    assert (report.recordings["problem"] == "").all()
    assert report.modalities[["modality", "recordings", "unusable"]].to_numpy().tolist() == [
        ["vision", 4, 0],
        ["audio", 4, 0],
        ["eeg", 4, 0],
    ]
    by_modality = report.modalities.set_index("modality")
    assert by_modality.loc["eeg", ["rate_from", "rate_to", "channels_to", "duration_to"]].tolist() == [250, 250, 4, 3]
    assert by_modality.loc["vision", "frames_from"] == 31


def test_planted_defects_in_files_are_found_and_nothing_else(tmp_path: Path) -> None:
    made_media.wav(tmp_path / "clipped.wav", (20 * voice(3, seed=1)).clip(-1, 1))
    made_media.wav(tmp_path / "silent.wav", np.zeros(48000))
    made_media.wav(tmp_path / "quiet.wav", 0.0005 * voice(3, seed=2))
    film(tmp_path / "black.mp4", [np.zeros((48, 64, 3), np.uint8)] * 31, seconds=3.1)
    film(tmp_path / "frozen.mp4", [moving(2)] * 31, seconds=3.1)
    film(tmp_path / "vfr.mkv", times=[n / 10 + 0.04 * (n % 3) for n in range(31)])
    dead, stuck, mains = brain(4, 3, seed=1), brain(4, 3, seed=2), brain(4, 3, seed=3)
    dead[1] = 0
    stuck[2] = (9 * stuck[2]).clip(-1e-4, 1e-4)
    mains += made_media.sine(50, 3, 250, 50e-6)
    for name, data in (("dead", dead), ("stuck", stuck), ("mains", mains)):
        made_media.fif(tmp_path / f"{name}_raw.fif", data, NAMES)
    report = report_on(
        tmp_path,
        "1,1,a,1,,,dead_raw.fif,clipped.wav,black.mp4",
        "1,2,b,2,,,stuck_raw.fif,silent.wav,frozen.mp4",
        "1,3,a,3,,,mains_raw.fif,quiet.wav,vfr.mkv",
    )
    messages = {f.message.partition(" (")[0] for f in report.findings if "balanced" not in f.message}
    assert messages == {
        "clipped sound in 1 of 3 trials",
        "digital silence in 1 of 3 trials",
        "very quiet sound in 1 of 3 trials",
        "black video in 1 of 3 trials",
        "frozen video in 1 of 3 trials",
        "variable frame rate in 1 of 3 trials",
        "flat EEG channels in 1 of 3 trials",
        "saturated EEG channels in 1 of 3 trials",
        "line noise at 50 Hz in 1 of 3 trials",
    }
    assert "trial 1: Fp2" in finding_with(report, "flat EEG").message
    assert "trial 2: C3" in finding_with(report, "saturated EEG").message


def test_many_broken_files_are_one_finding_and_few_are_named(tmp_path: Path) -> None:
    lines = []
    for n in range(6):
        whole = Path(made_media.wav(tmp_path / f"{n}.wav", voice(1, seed=n)))
        whole.write_bytes(whole.read_bytes()[: 1000 + n])
        lines.append(f"1,{n},{'ab'[n % 2]},{n},,,,{n}.wav,")
    lines += [f"2,{n},{'ab'[n % 2]},{n},,,,gone{n}.wav," for n in range(2)]
    report = report_on(tmp_path, *lines)
    cut, *gone = [f for f in report.findings if f.severity == "error"]
    assert "6 unusable recordings (6 trials): " in cut.message
    assert "0.wav: expected " in cut.message
    assert "also 1.wav; 2.wav; 3.wav; 2 more" in cut.message
    assert [Path(f.file).name for f in gone] == ["gone0.wav", "gone1.wav"]
    assert (report.recordings["problem"] != "").sum() == 8
    assert report.table["audio"].tolist() == [0, 0]


def test_a_file_of_many_trials_that_cannot_be_opened_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "all.edf").write_bytes(b"0       " + bytes(500))
    report = report_on(
        tmp_path, *(f"{s},{n},{'ab'[n % 2]},{n},{n},{n + 1},all.edf,," for s in (1, 2) for n in range(9))
    )
    (error,) = [f for f in report.findings if f.severity == "error"]
    assert error.subject == "1, 2"
    assert report.table["errors"].tolist() == [1, 1]


def test_overlapping_segments_are_leaks_unless_they_are_of_one_group(tmp_path: Path) -> None:
    made_media.wav(tmp_path / "long.wav", voice(10))
    lines = ["1,1,a,x,0,4,,long.wav,", "1,2,b,y,3,6,,long.wav,", "1,3,a,z,6.02,8,,long.wav,", "1,4,b,z,7,9,,long.wav,"]
    report = report_on(tmp_path, *lines)
    leak = finding_with(report, "trial 1 and trial 2 in long.wav")
    assert leak.severity == "warning"
    assert "1 trial overlaps" in leak.message
    assert finding_with(report, "trial 3 and trial 4 in long.wav").severity == "info"
    assert len([f for f in report.findings if "overlap" in f.message]) == 2
    whole = report_on(tmp_path, "1,1,a,,,,,long.wav,", "2,1,b,,,,,long.wav,")
    assert "trial 1 of subject 1 and trial 1 in long.wav" in finding_with(whole, "overlap").message


def test_copies_across_subjects_in_files_and_in_arrays(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", seed=1)
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    # Same size and same middle but different content: compared completely.
    data = (tmp_path / "a.mp4").read_bytes()
    big = bytes(200_000)
    (tmp_path / "c.mp4").write_bytes(data + big)
    (tmp_path / "d.mp4").write_bytes(data + big[:-1] + b"\x01")
    trials = np.stack([1e6 * brain(30, 1, 500, seed=n).T for n in (0, 1)], axis=2)
    made_media.mat(tmp_path / "s1.mat", trials, key="seg")
    made_media.mat(tmp_path / "s2.mat", trials[..., ::-1].copy(), key="seg1")  # another file with the same trials
    report = report_on(
        tmp_path,
        "1,1,x,1,,,s1.mat#1,,a.mp4",
        "1,2,y,2,,,s1.mat#2,,c.mp4",
        "2,1,x,1,,,s2.mat#1,,b.mp4",
        "2,2,y,2,,,s2.mat#2,,d.mp4",
    )
    video, eeg = (f for f in report.findings if "the same content" in f.message)
    assert (video.subject, video.modality, video.severity) == ("2", "vision", "warning")
    assert "in 1 of 2 recordings (trial 1 as trial 1 of subject 1: " in video.message
    assert "in 2 of 2 recordings (trial 1 as trial 2 of subject 1, labelled x and y: " in eeg.message


def test_channels_and_rates_that_differ_are_reported_once(tmp_path: Path) -> None:
    made_media.fif(tmp_path / "1_raw.fif", brain(4, 3), NAMES)
    made_media.fif(tmp_path / "2_raw.fif", brain(4, 3, 500, seed=1), ["Fp1", "Fp2", "C3", "Oz"], rate=500)
    lines = ["1,1,a,1,,,1_raw.fif,,", "1,2,b,2,,,2_raw.fif,,"]
    report = report_on(tmp_path, *lines)
    message = finding_with(report, "EEG files with different channels").message
    assert "3 of 5 are in all 2 files, missing are Cz in 1; Oz in 1 of them" in message
    assert finding_with(report, "EEG at different rates (250 Hz in 1 trials, 500 Hz in 1 trials)").severity == "info"
    made_media.fif(tmp_path / "2_raw.fif", brain(2, 3), ["O1", "O2"])
    assert finding_with(report_on(tmp_path, *lines), "0 of 6 are in all").severity == "error"


def test_missing_and_unused_sound_tracks(tmp_path: Path) -> None:
    film(tmp_path / "1.mp4", sound=0.0, seconds=3)
    film(tmp_path / "2.mp4", seconds=3, seed=2)
    lines = ["1,1,a,1,,,,,1.mp4", "1,2,b,2,,,,,2.mp4"]
    report = report_on(tmp_path, *lines)
    assert "no sound track in the videos of 1 of 2 trials (trial 2)" in finding_with(report, "no sound track").message
    assert "audio.from_video=true" in finding_with(report, "no sound files, but 1 of 2").remedy
    used = report_on(tmp_path, *lines, settings=("audio.from_video=true",))
    assert finding_with(used, "expected a sound track").severity == "error"
    assert used.table[["audio", "missing_audio"]].to_numpy().tolist() == [[1, 1]]
    assert not [f for f in used.findings if "no sound files" in f.message]


def test_lengths_are_grouped_per_subject() -> None:
    frame = pd.concat(
        [
            rows("vision", *({"duration": s} for s in (20.1, 20.1, 10.0, 20.0, 12.0, 11.0))),
            rows("audio", *({"duration": s} for s in (20.0, 18.0, 20.0, 20.0, 20.0, 20.0))),
        ],
        ignore_index=True,
    )
    (finding,) = pairing.lengths(frame)
    assert "in 4 of 6 trials (trial 2: vision 20.1 s, audio 18.0 s; trial 3: vision 10.0 s" in finding.message
    assert finding.message.endswith("; 1 more)")


def test_the_second_number_of_eavs_names_is_only_noted(tmp_path: Path) -> None:
    folder = eav_files.make_subject(tmp_path, trials=20, samples=500)
    name = eav_files.video_name(5)
    (folder / "Video" / name).rename(folder / "Video" / name.replace("Trial_05", "Trial_07"))
    report = check_dataset(tmp_path, faces=False)
    note = finding_with(report, "unexpected number after Trial by EAV's naming in 1 of 20 files")
    assert (note.severity, note.modality) == ("info", "vision")
    assert "005_Trial_07" in note.message
    # All media are empty files: each modality's are one error.
    assert [f.modality for f in report.findings if f.severity == "error"] == ["vision", "audio"]


def test_the_split_preview_is_what_a_study_would_plan(tmp_path: Path) -> None:
    for n in range(12):
        made_media.wav(tmp_path / f"{n}.wav", voice(1, seed=n))
    lines = [f"{s},{n},{'ab'[n % 2]},{n // 2},,,,{n}.wav," for s in (1, 2) for n in range(12)]
    report = report_on(tmp_path, *lines)
    split_preview = report.split_preview
    within = split_preview[split_preview["protocol"] == "conversation"]
    assert within["fold"].tolist() == [0, 1, 2, 3, 4]
    assert (within[["train", "validation", "test"]].sum(axis=1) == 24).all()
    assert within["subjects"].tolist() == [2] * 5
    assert within["test"].sum() == 24
    (paper,) = split_preview[split_preview["protocol"] == "paper"].to_dict("records")
    assert (paper["train"], paper["validation"], paper["test"], paper["problem"]) == (16, 0, 8, "")
    (loso,) = split_preview[split_preview["protocol"] == "loso"].to_dict("records")
    assert (loso["fold"], loso["subjects"]) == (-1, 0)
    assert "at least 3 subjects" in loso["problem"]

    (tmp_path / "0.wav").write_bytes(b"broken")  # its trials are gone, those of others stay
    broken = report_on(tmp_path, *lines).split_preview
    assert (broken[broken["protocol"] == "conversation"][["train", "validation", "test"]].sum(axis=1) == 22).all()
    (tmp_path / "0.wav").unlink()
    pd.testing.assert_frame_equal(report_on(tmp_path, *lines).split_preview, broken)
    for n in range(0, 12, 2):  # a class is gone: the subjects are excluded, which the preview reports
        (tmp_path / f"{n}.wav").unlink(missing_ok=True)
    gone = report_on(tmp_path, *lines).split_preview
    assert (gone["fold"] == -1).all()
    assert gone["problem"][gone["protocol"] == "conversation"].str.contains("none of a is left").all()


def test_the_split_preview_names_what_stops_a_study_that_tests_on_what_it_trained_on(tmp_path: Path) -> None:
    for s in (1, 2, 3):
        for n in range(8):
            made_media.wav(tmp_path / f"{s}-{n}.wav", voice(1, seed=10 * s + n))
    lines = [f"{s},{n},{'ab'[n % 2]},{n // 2},,,,{s}-{n}.wav," for s in (1, 2, 3) for n in range(8)]
    (tmp_path / "2-4.wav").write_bytes((tmp_path / "1-2.wav").read_bytes())  # of another person: matters across them
    preview = report_on(tmp_path, *lines).split_preview.set_index("protocol")
    assert (preview.loc["conversation", "problem"] == "").all()
    across = preview.loc[["loso"]]
    assert across["fold"].tolist() == [-1]
    assert "trial 2 of subject 1" in across["problem"].iloc[0]
    assert "trial 4 of subject 2" in across["problem"].iloc[0]

    lines[2] = "1,2,a,1,0,0.7,,1-0.wav,"  # a stretch of another group's recording
    within = report_on(tmp_path, *lines).split_preview.set_index("protocol").loc[["conversation"]]
    assert within["fold"].tolist() == [-1]
    assert "0 to 0.7 s of" in within["problem"].iloc[0]


def test_the_split_preview_counts_trials_for_calibration_across_subjects_only(tmp_path: Path) -> None:
    for name in range(3):
        for n in range(4):
            made_media.wav(tmp_path / f"{name}-{n}.wav", voice(1, seed=10 * name + n))
    lines = [f"{s},{n},{'ab'[n % 2]},{n // 2},,,,{s}-{n}.wav," for s in range(3) for n in range(4)]
    settings = ("protocol.name=loso", "protocol.subject_scaling=calibration:1")
    preview = report_on(tmp_path, *lines, settings=settings).split_preview
    assert (preview.loc[preview["protocol"] == "loso", "calibration"] == 3).all()
    assert preview.loc[preview["protocol"] == "conversation", "calibration"].sum() == 0
    assert "Calibration" in folds_table(preview, "loso")
    assert "Calibration trials" in outlook_table(preview)
    few = report_on(tmp_path, *lines, settings=(settings[0], "protocol.subject_scaling=calibration:4")).split_preview
    assert few["problem"][few["protocol"] == "loso"].str.contains("calibration:4").all()
    assert "Calibration trials" not in outlook_table(few)


def test_subjects_that_a_protocol_cannot_split_are_counted(tmp_path: Path) -> None:
    made_media.wav(tmp_path / "a.wav", voice(1))
    lines = [f"1,{n},{'ab'[n % 2]},{n // 2},{n / 10},{n / 10 + 0.1},,a.wav," for n in range(8)]
    lines += [f"2,{n},{'ab'[n % 2]},g,{n / 10},{n / 10 + 0.1},,a.wav," for n in range(8)]
    split_preview = report_on(tmp_path, *lines).split_preview
    within = split_preview[split_preview["protocol"] == "conversation"]
    assert within["fold"].tolist() == [0, 1, 2, 3, -1]
    assert within["subjects"].tolist() == [1] * 5
    assert "at least 2 groups" in within["problem"].iloc[-1]


def test_the_report_is_strict_json_and_csv(tmp_path: Path) -> None:
    made_media.wav(tmp_path / "a.wav", np.zeros(16000))
    report = report_on(tmp_path, "1,1,a,1,,,,a.wav,", "1,2,b,2,,,,gone.wav,")
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["recordings"][0]["rms"] is None
    assert data["recordings"][0]["silent"] == 1
    assert (data["scanned"], data["reused"], data["ok"]) == (1, 0, False)
    assert set(data) == {
        *("path", "ok", "kind", "simulated", "scanned", "reused"),
        *("table", "labels", "findings", "modalities", "outlook", "recordings"),
    }
    files = write_csv(report, tmp_path / "new" / "folder")
    assert {f.name for f in files} == {
        *("subjects.csv", "labels.csv", "findings.csv", "modalities.csv", "outlook.csv", "recordings.csv")
    }
    back = pd.read_csv(tmp_path / "new" / "folder" / "findings.csv")
    assert len(back) == len(report.findings)
    with fails(UsageError, expected="folder that can be written to"):
        write_csv(report, tmp_path / "a.wav" / "under")


def test_names_that_are_not_utf8_are_shown_and_stored(tmp_path: Path) -> None:
    folder = eav_files.make_subject(tmp_path, trials=20, samples=500)
    name = folder / "Video" / eav_files.video_name(3)
    name.rename(os.fsdecode(os.fsencode(folder / "Video") + b"/003_\xff.mp4"))
    report = check_dataset(tmp_path, cache=tmp_path / "cache", faces=False)
    text = json.dumps(report.to_dict(), ensure_ascii=False)
    text.encode()
    for frame in (report.recordings, report.table):
        frame.to_csv(index=False).encode()


def test_an_unexpected_failure_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_media.wav(tmp_path / "a.wav", np.zeros(16000))

    def fail(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(pairing, "lengths", fail)
    report = report_on(tmp_path, "1,1,a,1,,,,a.wav,", "1,2,b,2,,,,a.wav,")
    assert "ZeroDivisionError: planted" in finding_with(report, "lengths failed").message
    assert finding_with(report, "digital silence")
    assert not report.ok
    monkeypatch.setattr("eavdash.health.check.open_table", fail)
    assert "planted" in check_dataset(tmp_path, faces=False).findings[0].message


def test_what_the_caller_raises_ends_the_check(tmp_path: Path) -> None:
    made_media.wav(tmp_path / "a.wav", np.zeros(16000))

    class EnoughError(Exception):
        pass

    def report(done: int, of: int) -> None:
        raise EnoughError(f"{done} of {of}")

    with pytest.raises(EnoughError, match="0 of 1"):
        check_dataset(table(tmp_path, "1,1,a,1,,,,a.wav,"), report, faces=False)


def test_faces_are_searched_for_once_per_video(tmp_path: Path, real_data: Path) -> None:
    face = sorted((real_data / "video").glob("*.mpg"))[0]
    film(tmp_path / "none.mp4", seconds=3)
    report = check_dataset(table(tmp_path, f"1,1,a,1,,,,,{face}", "1,2,b,2,,,,,none.mp4"), cache=tmp_path / "cache")
    found_in = report.recordings.set_index("trial")
    assert found_in.loc["1", ["faces_found", "faces_looked"]].tolist() == [5, 5]
    assert found_in.loc["2", "faces_found"] == 0
    assert "no face found in 1 of 2 trials (trial 2:" in finding_with(report, "no face").message
    assert report.scanned == 4
    again = check_dataset(
        table(tmp_path, f"1,1,a,1,,,,,{face}", "1,2,b,2,,,,,none.mp4"), cache=tmp_path / "cache", faces=False
    )
    assert (again.scanned, again.reused) == (0, 2)
    assert again.recordings["faces_looked"].isna().all()


def test_items_of_published_pickles_are_measured_one_by_one(tmp_path: Path) -> None:
    folder = array_files.input_images(tmp_path, train=2, test=1)
    values = {
        kind: array_files.content(kind, array_files.classes(2), array_files.classes(1)) for kind in ("aud", "vis")
    }
    for train, test in ((values["aud"][0], values["aud"][2]), (values["vis"][0], values["vis"][2])):
        for part, seed in ((train, 0), (test, 10**6)):
            part[...] = np.random.default_rng(seed).uniform(0, 1 if part.dtype.kind == "f" else 255, part.shape)
    values["aud"][0][1] = 0  # window 2 hears nothing
    values["vis"][0][2] = 0  # window 3 sees nothing
    values["vis"][2][0] = values["vis"][0][4]  # window 11, of the test split, is window 5 of training
    for kind, value in values.items():
        array_files.pickled(folder / array_files.FOLDER[kind] / f"subject_01_{kind}.pkl", value)
    report = check_dataset(tmp_path, faces=True)
    assert report.kind == "eav-pickles"
    assert len(report.recordings) == 45
    assert "digital silence in 1 of 15 trials" in finding_with(report, "digital silence").message
    assert "black video in 1 of 15 trials" in finding_with(report, "black video").message
    assert "the same content as another in 1 of 15 recordings" in finding_with(report, "the same content").message
    assert finding_with(report, "names of trials: pairing cannot be verified").severity == "info"
    assert report.recordings["faces_looked"].isna().all()  # cropped to faces before they were given away
    assert "no signal in any EEG channel in 15 of 15" in finding_with(report, "no signal").message
    by_modality = report.modalities.set_index("modality")
    assert by_modality.loc["vision", ["duration_to", "rate_to", "frames_to"]].tolist() == [5, 5, 25]
    assert by_modality.loc["audio", ["duration_to", "rate_to"]].tolist() == [5, 16000]


def test_deaps_files_are_measured(tmp_path: Path) -> None:
    arrays = array_files.deap_arrays(trials=4)
    arrays["data"][:, :32] = 1e6 * brain(4 * 32, 63, 128).reshape(4, 32, 8064)
    arrays["data"][2, 7] = 5
    array_files.deap(tmp_path / "s01.dat", arrays)
    report = check_dataset(tmp_path, faces=False)
    assert report.kind == "deap"
    assert report.table["eeg"].tolist() == [4]
    assert "flat EEG channels in 1 of 4 trials (trial 3: " in finding_with(report, "flat EEG").message
    assert not [f for f in report.findings if f.severity == "error"]
