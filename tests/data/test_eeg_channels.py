"""Which channels of a recording are read: systems of electrodes, spellings, references, pairs, repeated names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eeg_files import TEN20, edf, noise
from failing import fails
from made_media import fif

from eavdash.config.schema import EegConfig
from eavdash.data.eeg import electrodes
from eavdash.data.eeg.channels import Chosen, canonical, choose_channels
from eavdash.data.eeg.prepare import prepare
from eavdash.data.eeg.reading import common_channels, eeg_info, read_eeg, read_prepared
from eavdash.data.eeg.scalp import scalp_map
from eavdash.data.eeg.signal import EegRules
from eavdash.errors import ChannelsError, DataError, RecordingError

TODAY = EegRules()
EARLIER = EegRules("10-05", "leave-out", "ignore")
BIOSEMI = [f"{bank}{n}" for bank in "ABCDEFGH" for n in range(1, 33)]
EGI = [f"E{n}" for n in range(1, 257)]


def chosen(names: list[str], rules: EegRules = TODAY) -> Chosen:
    return choose_channels("a.edf", names, None, rules)


@pytest.mark.parametrize(
    ("names", "system"),
    [
        (BIOSEMI[:16], "biosemi16"),
        (BIOSEMI[:32], "biosemi32"),
        (BIOSEMI[:64], "biosemi64"),
        (BIOSEMI[:128], "biosemi128"),
        (BIOSEMI[:160], "biosemi160"),
        (BIOSEMI, "biosemi256"),
        (BIOSEMI[10:128], "biosemi128"),
        (EGI[:32], "GSN-HydroCel-32"),
        (EGI[:64], "GSN-HydroCel-65_1.0"),
        (EGI[:128], "GSN-HydroCel-129"),
        (EGI, "GSN-HydroCel-257"),
        ([name.lower() for name in EGI[:128]], "GSN-HydroCel-129"),
        (list(TEN20), "10-05"),
        (["E1", "E2", "C3", "C4", "A1", "A2"], "10-05"),
        (["C1", "C2", "C3", "C4", "C5", "C6", "A1", "A2", "F3"], "10-05"),
        (["left", "right"], "10-05"),
    ],
)
def test_system_of_names(names: list[str], system: str) -> None:
    assert electrodes.system_of(names) == system


@pytest.mark.parametrize("names", [BIOSEMI[:128], BIOSEMI[:64], EGI[:128], [*EGI, "Cz"], [*EGI[:64], "VREF"]])
def test_all_channels_of_a_cap_or_net_are_read(names: list[str]) -> None:
    found = chosen([*names, "Status", "EXG1", "EXG2", "ECG"])
    assert [*found.read.values()] == [*range(len(names))]
    assert found.passed == ()
    assert set(found.skipped) == {"Status", "EXG1", "EXG2", "ECG"}
    assert ("Cz" in found.read) == (names[-1] in ("Cz", "VREF"))
    assert scalp_map(tuple(found.read)) is not None
    earlier = choose_channels("a.edf", names, None, EARLIER)
    assert len(earlier.read) < 20 or earlier.passed == ()


def test_places_of_a_cap_are_its_own(tmp_path: Path) -> None:
    """C3 of BioSemi's 128 is another place than C3 of the 10-20 system; A1 of its 32 is Fp1."""
    own, ten = electrodes.directions(["C3"], "biosemi128"), electrodes.directions(["C3"])
    assert float((own @ ten.T)[0, 0]) < 0.9
    same = electrodes.directions(["A1", "A32"], "biosemi32") @ electrodes.directions(["Fp1", "Cz"]).T
    assert np.diag(same).min() > 0.98
    path = fif(tmp_path / "a_raw.fif", noise(128, 4) * 1e-6, BIOSEMI[:128], 100.0)
    signal = read_eeg(path)
    assert signal.system == "biosemi128"
    broken = np.array(signal.data)
    field = electrodes.directions(signal.channels, "biosemi128") @ np.array([1.0, 2.0, 3.0])
    broken[:] = (field[:, None] * np.sin(np.arange(400) / 3) * 1e-5).astype("f4")
    wrong = np.array(broken)
    wrong[5] = 0
    fixed = prepare(
        type(signal)(wrong, 100.0, signal.channels, system="biosemi128"), EegConfig(bad_channels="interpolate", low=0)
    )
    assert signal.channels[5] in fixed.interpolated
    assert np.corrcoef(fixed.signal.data[5], broken[5])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("name", "electrode", "against"),
    [
        ("EEG Fp1", "Fp1", ""),
        ("EEG.Fp1", "Fp1", ""),
        ("EEG_FP1", "Fp1", ""),
        ("EEG-Fp1", "Fp1", ""),
        ("EEG:Fp1", "Fp1", ""),
        ("EEGFp1", "Fp1", ""),
        ("EEG Fp1-Ref", "Fp1", "REF"),
        ("EEG FP1-LE", "Fp1", "LE"),
        ("Fp1-A1", "Fp1", "A1"),
        ("Fp1 - nose", "Fp1", "NOSE"),
        ("Fp1 (uV)", "Fp1", ""),
        ("Fp1 [uV]", "Fp1", ""),
        ("EEG.Fp1 [µV]", "Fp1", ""),
        ("T3-Ref (mV)", "T7", "REF"),
        ("Fc5..", "FC5", ""),
    ],
)
def test_spellings_of_one_electrode(name: str, electrode: str, against: str) -> None:
    found = chosen([name, "ECG"])
    assert ([*found.read], found.reference) == ([electrode], against)
    assert canonical(name, EegRules()) == electrode


def test_a_difference_of_both_ears_is_no_channel_that_is_passed_over() -> None:
    found = chosen([*TEN20, "EEG A2-A1"])
    assert (found.passed, [*found.others]) == ((), ["A2-A1"])


@pytest.mark.parametrize("name", ["EEG A2-A1", "CQ.Fp1", "POW.Fp1.Alpha", "Fp1 Quality", "EEG 1", "Fp"])
def test_names_that_are_no_electrode(name: str) -> None:
    assert [*chosen(["Fz", "Cz", "Pz", name]).read] == ["Fz", "Cz", "Pz"]


def test_a_common_reference_is_no_pair_and_pairs_are_kept() -> None:
    common = chosen([f"EEG {name}-Pz" for name in TEN20])
    assert ([*common.read], common.reference) == ([*TEN20], "Pz")
    pairs = ["FP1-F7", "F7-T3", "T3-P7", "P7-O1", "FP2-F8", "F8-T8", "T8-P8-0", "P8-O2", "T8-P8-1", "Cz", "ECG", "--0"]
    found = chosen(pairs)
    assert [*found.read] == ["Fp1-F7", "F7-T7", "T7-P7", "P7-O1", "Fp2-F8", "F8-T8", "P8-O2", "Cz"]
    assert (found.repeated, found.passed, found.reference) == (("T8-P8",), (), "")
    assert found.skipped == ("ECG", "--0")


@pytest.mark.parametrize(
    "other", ["Accel X", "ECG", "EKG1", "Marker", "EMG", "hEOG", "VEO", "ROC", "Trigger", "Temp", "X3"]
)
def test_other_names_beside_electrodes_are_not_read(other: str) -> None:
    found = chosen(["Fz", "Cz", other])
    assert [*found.read] == ["Fz", "Cz"]
    assert (found.passed, found.skipped) == (((other,), ()) if other == "X3" else ((), (other,)))
    assert [*chosen(["Fz", "Cz", other], EegRules(montage="file")).read] == ["Fz", "Cz", other]


def test_without_electrodes_all_but_other_signals_are_read() -> None:
    names = [*(f"EXG Channel {n}" for n in range(8)), "Accel X", "Accel Y", "ECG", "Marker"]
    found = chosen(names)
    assert [*found.read] == names[:8]
    assert found.skipped == tuple(names[8:])
    assert [*choose_channels("a.edf", names, None, EARLIER).read] == names


def test_refused_where_most_would_be_passed_over() -> None:
    names = ["Fz", "Cz", "probe 1", "probe 2", "probe 3", "ECG"]
    with fails(ChannelsError, where="a.edf", found=("2 of 5", "Fz, Cz", "probe 1"), remedy="eeg.montage=file"):
        chosen(names)
    assert len(chosen(names, EegRules(montage="file")).read) == 6
    assert [*choose_channels("a.edf", names, None, EARLIER).read] == ["Fz", "Cz"]


@pytest.mark.parametrize("rules", [EegRules(), EARLIER])
def test_a_name_that_stands_twice(rules: EegRules) -> None:
    names = ["Fp1-0", "Fp1-1", "Cz", "T3", "T7", "Oz"]
    left = choose_channels("a.edf", names, None, rules)
    assert ([*left.read.items()], left.repeated) == ([("Cz", 2), ("Oz", 5)], ("Fp1", "T7"))
    first = choose_channels("a.edf", names, None, EegRules(rules.montage, "first"))
    assert [*first.read.items()] == [("Fp1", 0), ("Cz", 2), ("T7", 3), ("Oz", 5)]
    with fails(RecordingError, found="Cz more than once", remedy="eeg.repeated=first"):
        choose_channels("a.edf", ["Cz-0", "Cz-1"], None, rules)


def test_electrodes_of_two_systems_are_never_mixed(tmp_path: Path) -> None:
    one = fif(tmp_path / "a_raw.fif", noise(19, 2) * 1e-6, TEN20, 100.0)
    other = fif(tmp_path / "b_raw.fif", noise(128, 2) * 1e-6, BIOSEMI[:128], 100.0)
    with fails(DataError, where="b_raw.fif", expected="10-05", found="biosemi128"):
        common_channels([one, other])
    assert common_channels([one, other], rules=EARLIER) == ("C3", "C4")


def test_spellings_in_files_give_the_same_channels(tmp_path: Path) -> None:
    forms = ["EEG.{}", "EEG {}-Pz", "EEG-{}", "{} (uV)", "{} [uV]", "EEG {}-REF"]
    data = noise(19, 4)
    paths = [edf(tmp_path / f"{n}.edf", data, [form.format(name) for name in TEN20]) for n, form in enumerate(forms)]
    assert common_channels(paths) == TEN20
    expected = read_eeg(paths[0]).data
    np.testing.assert_allclose(expected, data * 1e-6, atol=2e-8)
    assert all(np.array_equal(read_eeg(path).data, expected) for path in paths)
    assert [eeg_info(path).remarks.reference for path in paths] == ["", "Pz", "", "", "", "REF"]


def test_studies_without_the_setting_read_as_before(tmp_path: Path) -> None:
    path = fif(tmp_path / "a_raw.fif", noise(8, 2) * 1e-6, [*BIOSEMI[64:70], "left", "right"], 100.0)
    assert read_prepared(path, 0, 2, EegConfig()).signal.channels == ("C1", "C2", "C3", "C4", "C5", "C6")
