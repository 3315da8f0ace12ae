"""The kept health report: as it was made, of the dataset's present recordings, and never of another version."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from fake_health import empty_report, make_report

from eavdash.data.table import open_table
from eavdash.health import kept
from eavdash.health.report import HealthReport
from eavdash.store.paths import health_report_file


@pytest.mark.parametrize("report", [make_report(), empty_report()])
def test_a_report_is_kept_as_it_is(tmp_path: Path, report: HealthReport) -> None:
    assert kept.kept(tmp_path, "/data") is None
    kept.keep(tmp_path, "/data", report, "state")
    found = kept.kept(tmp_path, "/data")
    assert found is not None
    assert found.state == "state"
    assert found.report.findings == report.findings
    assert found.report.to_dict() == report.to_dict()
    for name in ("table", "labels", "recordings", "split_preview"):
        pd.testing.assert_frame_equal(
            getattr(found.report, name),
            getattr(report, name),
            check_dtype=len(report.table) > 0,
            check_index_type=False,
        )
    assert kept.kept(tmp_path, "/other") is None


def test_a_report_is_private_and_one_that_cannot_be_written_is_not_kept(tmp_path: Path) -> None:
    usual, wrong = tmp_path / "root" / ".cache", tmp_path / "file" / ".cache"
    kept.keep(usual, "/data", make_report(), "state")
    file = health_report_file(usual, "/data")
    assert [path.stat().st_mode & 0o777 for path in (usual, file.parent, file)] == [0o700, 0o700, 0o600]
    wrong.parent.write_text("no folder")
    kept.keep(wrong, "/data", make_report(), "state")
    assert kept.kept(wrong, "/data") is None


@pytest.mark.parametrize("change", [{"measures": -1}, {"frames": 3}, {"frames": {"table": {"a": [1], "b": []}}}])
def test_a_damaged_report_or_one_of_another_version_is_none(tmp_path: Path, change: dict) -> None:
    kept.keep(tmp_path, "/data", make_report(), "state")
    file = health_report_file(tmp_path, "/data")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert kept.kept(tmp_path, "/data") is None
    file.write_text("{")
    assert kept.kept(tmp_path, "/data") is None


def test_the_state_changes_with_rows_and_with_files(tmp_path: Path) -> None:
    table = tmp_path / "trials.csv"
    (tmp_path / "a.wav").write_bytes(b"RIFF")

    def state(label: str = "calm") -> str:
        table.write_text(f"subject,trial,label,audio\n1,1,{label},a.wav\n1,2,loud,b.wav\n")
        return kept.files_state(open_table(table))

    first = state()
    assert state() == first
    assert state("happy") != first
    os.utime(tmp_path / "a.wav", ns=(1, 1))
    second = state()
    assert second != first
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    assert state() not in (first, second)
