"""The health page's tables and downloads match the report."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
from fake_health import empty_report, make_report, with_odd_names

from eavdash.report.figures import health as figures
from eavdash.report.figures import health_tables as tables


def test_the_findings_file_has_every_finding_unchanged() -> None:
    report = make_report()
    read = pd.read_csv(io.BytesIO(tables.findings_csv(report)), keep_default_na=False)
    assert read.to_dict("records") == [asdict(f) for f in report.findings]


def test_the_recordings_file_has_every_measure_unchanged() -> None:
    report = make_report()
    texts = dict.fromkeys(report.recordings.select_dtypes(exclude="number"), str)
    read = pd.read_csv(io.BytesIO(tables.recordings_csv(report)), dtype=texts, keep_default_na=False, na_values=[""])
    read[list(texts)] = read[list(texts)].fillna("")
    pd.testing.assert_frame_equal(read, report.recordings, check_dtype=False)


def test_the_json_file_is_the_report() -> None:
    report = make_report()
    text = tables.report_json(report).decode()
    assert "NaN" not in text
    assert json.loads(text) == json.loads(json.dumps(report.to_dict()))


def test_files_of_empty_reports_have_headings() -> None:
    report = empty_report()
    assert tables.findings_csv(replace(report, findings=())).decode().strip() == (
        "severity,subject,modality,file,message,remedy"
    )
    assert tables.recordings_csv(report).decode().startswith("subject,trial,")


def test_names_that_are_not_utf8_are_shown_and_exported() -> None:
    report = with_odd_names(make_report())
    for frame in (
        tables.findings_table(report.findings),
        tables.recordings_table(report.recordings, "audio"),
    ):
        frame.to_csv().encode()
        assert frame["File"].str.contains(r"caf\xe9.wav", regex=False).all()
    assert b"caf\xe9.wav" in tables.recordings_csv(report)
    json.loads(tables.report_json(report).decode())


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (make_report(errors=0), "All 8 trials of 2 subjects can be used."),
        (make_report(errors=0, subjects=1), "All 4 trials of 1 subject can be used."),
        (make_report(), "Some recordings cannot be used: 6 of 8 trials of 2 subjects are complete."),
        (empty_report(), "This dataset cannot be used as it is."),
        (
            replace(make_report(), findings=make_report(errors=0).findings),
            "Every recording can be used: 6 of 8 trials of 2 subjects are complete.",
        ),
    ],
)
def test_the_summary_is_a_sentence_with_counts(report, expected: str) -> None:
    assert tables.summary_sentence(report) == expected


def test_severities_are_counted() -> None:
    assert tables.severities(make_report().findings) == "2 errors, 1 warning, 1 note"
    assert tables.severities(make_report(errors=0, notes=3).findings) == "1 warning, 3 notes"
    assert tables.severities(()) == ""


def test_a_modality_without_gaps_has_no_missing_column_and_gaps_are_highlighted() -> None:
    shown = tables.subject_table(make_report().table)
    assert list(shown) == [
        *("Subject", "Trials", "Complete", "Vision", "Audio", "EEG", "Audio missing", "Errors", "Warnings")
    ]
    tinted = tables.highlight_gaps(shown).to_html()
    assert tinted.count("background-color") == 1  # one rule, for the cells with a gap
    whole = tables.subject_table(make_report(errors=0).table)
    assert "Audio missing" not in whole
    assert "background-color" not in tables.highlight_gaps(whole).to_html()


def test_recordings_are_shown_with_their_own_measures() -> None:
    report = make_report()
    audio = tables.recordings_table(report.recordings, "audio", "1")
    assert list(audio) == [
        "Subject",
        "Trial",
        "Problem",
        "Duration, s",
        "Peak, full scale",
        "Clipped, %",
        "Bytes",
        "File",
    ]
    assert list(audio["Clipped, %"]) == [12.5] * 4
    assert list(audio["File"]) == [f"{n}.audio" for n in range(4)]
    every = tables.recordings_table(report.recordings, "eeg")
    assert len(every) == 8
    assert "Names of flat channels" in every
    assert "Problem" not in every
    assert every["File"].iloc[-1] == "s_2/3.eeg"


def test_every_measure_of_a_report_has_a_heading() -> None:
    from eavdash.health.report import NUMBERS

    assert set(NUMBERS) - set(tables.MEASURES) == set()


def test_a_protocol_is_a_row_with_its_range() -> None:
    table = tables.outlook_table(make_report().split_preview)
    assert list(table["Protocol"]) == ["conversation", "loso"]
    assert list(table["Folds"]) == [3, 0]
    assert list(table["Train trials"]) == ["2 to 4", "–"]
    assert list(table["Test trials"]) == ["1", "–"]
    assert tables.outlook_problems(make_report().split_preview) == ["loso: needs 3 subjects"]
    assert len(tables.folds_table(make_report().split_preview, "conversation")) == 3
    assert tables.folds_table(make_report().split_preview, "loso").empty


def test_durations_are_drawn_from_minimum_to_maximum() -> None:
    traces = {t.name: t for t in figures.durations(make_report().recordings).data}
    assert list(traces) == ["Vision", "Audio", "EEG"]
    audio = traces["Audio"]
    assert list(audio.x) == ["1", "2"]
    assert list(audio.y) == [19.5, 19.5]
    assert list(audio.error_y.array) == [1.5, 1.5]
    assert list(audio.error_y.arrayminus) == [1.5, 1.5]


def test_faces_are_shares_of_the_checked_frames() -> None:
    report = make_report()
    figure = figures.faces(report.recordings)
    assert figure is not None
    assert list(figure.data[0].y) == [75.0, 75.0]
    assert figures.faces(report.recordings.assign(faces_looked=float("nan"))) is None


def test_labels_are_stacked_over_subjects() -> None:
    assert [list(t.y) for t in figures.label_balance(make_report().labels).data] == [[3, 1], [3, 1]]
