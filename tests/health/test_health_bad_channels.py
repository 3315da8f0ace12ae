"""Bad EEG channels: what the health check reports is what preprocessing replaces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eeg_fields import EAV, changed, field
from health_files import table
from made_media import fif, sine

from eavdash.config.convert import from_dict, to_dict, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import EegConfig, StudyConfig
from eavdash.data.eeg.bad import KINDS
from eavdash.data.eeg.reading import read_prepared
from eavdash.health.check import check_dataset
from eavdash.health.report import HealthReport

RATE, SECONDS = 250, 20
NEW = preset("quick")
REPLACING = with_settings(NEW, ["eeg.bad_channels=interpolate"])
EARLIER = with_settings(REPLACING, ["eeg.bad_rules=prep"])


def planted(own: np.ndarray, fault: str) -> np.ndarray:
    """(time,) a channel with a fault."""
    random = np.random.default_rng(1)
    noise = random.normal(0, 1e-5, len(own))
    return {
        "saturated": (10 * own).clip(*np.quantile(10 * own, [0.25, 0.75])),
        "flat for 6 of 20 s": np.where((np.arange(len(own)) >= 1000) & (np.arange(len(own)) < 2500), own[1000], own),
        "six times noisier": own + 6 * own.std() * random.normal(size=len(own)),
        "weak": own / 100,
        "uncorrelated": noise,
    }[fault]


def check(folder: Path, *signals: np.ndarray, config: StudyConfig = NEW) -> HealthReport:
    """The report on one subject with these trials, named from 1 on."""
    lines = []
    for n, data in enumerate(signals, start=1):
        fif(folder / f"{n}_raw.fif", data, EAV)
        lines.append(f"1,{n},{'ab'[n % 2]},{n},,,{n}_raw.fif,,")
    return check_dataset(table(folder, *lines), config=config, faces=False)


def faults(report: HealthReport) -> dict[str, dict[str, str]]:
    """Per trial the bad channels of each kind, without the kinds that have none."""
    return {
        row["trial"]: {kind: row[f"{kind}_channels"] for kind in KINDS if row[f"{kind}_channels"]}
        for _, row in report.recordings.iterrows()
    }


def whole(seed: int) -> np.ndarray:
    return field(seed, seconds=SECONDS, rate=RATE).data.astype(float)


def replaced(folder: Path, trial: int, config: StudyConfig) -> tuple[str, ...]:
    return read_prepared(str(folder / f"{trial}_raw.fif"), None, None, config.eeg).interpolated


@pytest.mark.parametrize(
    ("fault", "kind", "severity", "earlier"),
    [
        ("saturated", "saturated", "warning", False),
        ("flat for 6 of 20 s", "flat", "warning", True),
        ("six times noisier", "noisy", "warning", True),
        ("weak", "weak", "info", True),
        ("uncorrelated", "uncorrelated", "info", True),
    ],
)
def test_a_planted_fault_is_reported_with_its_kind_and_replaced(
    tmp_path: Path, fault: str, kind: str, severity: str, earlier: bool
) -> None:
    broken = whole(2)
    broken[EAV.index("C3")] = planted(broken[EAV.index("C3")], fault)
    report = check(tmp_path, whole(1), broken)
    assert faults(report) == {"1": {}, "2": {kind: "C3"}}
    (finding,) = [f for f in report.findings if f.modality == "eeg"]
    assert (finding.severity, finding.subject) == (severity, "1")
    assert kind in finding.message
    assert "trial 2: C3" in finding.message
    assert "eeg.bad_channels=interpolate" in finding.remedy
    # What the remedy says, done:
    assert replaced(tmp_path, 1, REPLACING) == ()
    assert replaced(tmp_path, 2, REPLACING) == ("C3",)
    (finding,) = [f for f in check(tmp_path, whole(1), broken, config=REPLACING).findings if f.modality == "eeg"]
    assert (finding.severity, finding.remedy.startswith("nothing")) == ("info", True)
    if earlier:
        assert replaced(tmp_path, 2, EARLIER) == ("C3",)


def test_a_saturated_wave_of_usual_size_was_kept_by_earlier_versions(tmp_path: Path) -> None:
    broken = whole(2)
    own = broken[EAV.index("C3")]
    broken[EAV.index("C3")] = own.clip(*np.quantile(own, [0.25, 0.75]))
    report = check(tmp_path, whole(1), broken, config=EARLIER)
    assert faults(report)["2"] == {"saturated": "C3"}
    (finding,) = [f for f in report.findings if f.modality == "eeg"]
    assert (finding.severity, "eeg.bad_rules=all" in finding.remedy) == ("warning", True)
    assert replaced(tmp_path, 2, EARLIER) == ()
    assert replaced(tmp_path, 2, REPLACING) == ("C3",)
    published = with_settings(preset("paper"), ["stages=eeg"])
    (finding,) = [f for f in check(tmp_path, whole(1), broken, config=published).findings if f.modality == "eeg"]
    assert "interpolate" not in finding.remedy, "the published chain has no such step"


def test_hum_that_the_study_removes_is_no_fault(tmp_path: Path) -> None:
    humming = whole(2)
    humming[EAV.index("T7")] += sine(50, SECONDS, RATE, 2e-4)
    notched = with_settings(REPLACING, ["eeg.notch=50"])
    cache = tmp_path / "cache"
    fif(tmp_path / "1_raw.fif", humming, EAV)
    made = table(tmp_path, "1,1,a,1,,,1_raw.fif,,")
    for config, expected in ((REPLACING, {"noisy": "T7"}), (notched, {}), (REPLACING, {"noisy": "T7"})):
        report = check_dataset(made, config=config, cache=cache, faces=False)
        assert faults(report) == {"1": expected}
        assert replaced(tmp_path, 1, config) == tuple(expected.values())


def test_faults_of_a_long_trial_are_those_of_its_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eavdash.health.measures import eeg
    from eavdash.health.measures.base import MeasureRequest, Part
    from eavdash.health.measures.measure import measure_file

    monkeypatch.setattr(eeg, "_SEGMENT", 10.0)
    signal = field(3, seconds=SECONDS, rate=RATE)
    own = signal.data[EAV.index("O1")].astype(float)
    own[500:2000] = 0
    path = fif(tmp_path / "a_raw.fif", changed(signal, "O1", own).data.astype(float), EAV)
    (part,) = measure_file(MeasureRequest("eeg", path, (Part(),)))["parts"]
    assert {kind: part[f"{kind}_channels"] for kind in KINDS if part[kind]} == {"flat": "O1"}


def test_real_recordings_have_no_bad_channel(real_data: Path) -> None:
    report = check_dataset(real_data / "eeg" / "trials.csv", faces=False)
    assert report.ok
    assert len(report.recordings) == 36
    assert (report.recordings[list(KINDS)] == 0).all(axis=None)


def test_studies_keep_the_rules_that_they_were_made_with() -> None:
    assert EegConfig().bad_rules == "prep"
    assert {preset(name).eeg.bad_rules for name in ("quick", "paper")} == {"all"}
    document = to_dict(REPLACING)
    del document["eeg"]["bad_rules"]
    assert from_dict(document) == EARLIER


def test_the_rules_are_part_of_a_windows_key_only_where_they_matter() -> None:
    from eavdash.data.readers import READERS

    names = {"chain", "rate", "low", "high", "notch", "bad_channels", "reject", "clip", "reference", "channels"}
    keeping = with_settings(NEW, ["eeg.bad_rules=prep"])
    earlier = {"montage": "10-05", "gaps": "ignore", "marked_channels": "false", "reject_marked": "false"}
    settings = [f"eeg.{name}={value}" for name, value in earlier.items()]
    for same in (NEW, keeping, EARLIER):
        assert set(READERS["eeg"](with_settings(same, settings)).settings) == names, "the keys of earlier versions"
    later = {"montage", "gaps", "reject_marked"}
    assert set(READERS["eeg"](NEW).settings) == names | later
    assert set(READERS["eeg"](EARLIER).settings) == names | later | {"marked_channels"}
    assert READERS["eeg"](NEW).settings == READERS["eeg"](keeping).settings
    assert READERS["eeg"](REPLACING).settings == {**READERS["eeg"](EARLIER).settings, "bad_rules": "all"}
