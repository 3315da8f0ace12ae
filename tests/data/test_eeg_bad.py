"""Bad channels: the planted ones are found, clean ones are not, and what replaces them is near the truth."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from eeg_fields import EAV, changed, field
from hypothesis import given, settings
from hypothesis import strategies as st

from eavdash.data.eeg import electrodes
from eavdash.data.eeg import reading as eeg
from eavdash.data.eeg.bad import bad_channels, constant_runs, interpolate
from eavdash.data.eeg.signal import EegSignal

SEEDS, CHANNELS = st.integers(0, 10_000), st.sampled_from(EAV)
RULES = ("all", "prep")


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_clean_trials_have_none(seed: int) -> None:
    assert bad_channels(field(seed)) == {}


@settings(max_examples=30, deadline=None)
@given(SEEDS, CHANNELS, st.sampled_from(["flat", "half flat", "noisy", "weak", "alone"]), st.sampled_from(RULES))
def test_a_planted_one_is_found_alone(seed: int, channel: str, kind: str, rules: str) -> None:
    signal = field(seed)
    own = signal.data[EAV.index(channel)].astype(float)
    random = np.random.default_rng(seed)
    planted, reason = {
        "flat": (3e-5, "flat for 10.0 s"),
        "half flat": (np.where(np.arange(2500) < 1249, own, own[1249]), "flat for 5.0 s"),
        "noisy": (own + random.normal(0, 5e-4, 2500), "noisier than the others"),
        "weak": (own.mean() + (own - own.mean()) / 100, "weaker than the others"),
        "alone": (random.normal(0, 1.5e-5, 2500), "uncorrelated"),
    }[kind]
    bad = bad_channels(changed(signal, channel, planted), rules=rules)
    assert list(bad) == [channel]
    assert reason in bad[channel].text


@settings(max_examples=20, deadline=None)
@given(SEEDS, CHANNELS, st.sampled_from(["saturated", "loose"]))
def test_earlier_versions_did_not_know_all_faults(seed: int, channel: str, planted: str) -> None:
    signal = field(seed)
    own = signal.data[EAV.index(channel)]
    values, kind, share = {
        "saturated": (own.clip(*np.quantile(own, [0.25, 0.75])), "saturated", "saturated for"),
        # Half a second with contact, a second without: no pause lasts long enough by itself.
        "loose": (np.where(np.arange(2500) % 375 < 125, own, own[0]), "flat", "flat for 6"),
    }[planted]
    broken = changed(signal, channel, values)
    bad = bad_channels(broken)
    assert {name: fault.kind for name, fault in bad.items()} == {channel: kind}
    assert bad[channel].text.startswith(share)
    earlier = bad_channels(broken, rules="prep").get(channel)
    assert earlier is None or earlier.kind != kind


def test_one_touch_of_the_limit_is_not_saturation() -> None:
    own = field(1).data[EAV.index("Cz")].copy()
    own[1000:1024] = own.max()  # 24 of 2500 samples, less than one in a hundred
    assert bad_channels(changed(field(1), "Cz", own)) == {}
    own[1000:1026] = own.max()
    assert bad_channels(changed(field(1), "Cz", own))["Cz"].kind == "saturated"


def test_an_unconnected_channel_is_weak_however_few_there_are() -> None:
    signal = field(1).pick(EAV[:3])
    weak = changed(signal, EAV[1], signal.data[1] / 100)
    assert {name: fault.kind for name, fault in bad_channels(weak).items()} == {EAV[1]: "weak"}
    assert bad_channels(weak, rules="prep") == {}


def test_less_than_half_a_trial_is_not_flat() -> None:
    own = field(1).data[EAV.index("Cz")]
    bad = bad_channels(changed(field(1), "Cz", np.where(np.arange(2500) < 1300, own, own[1300])))
    assert not any(fault.kind == "flat" for fault in bad.values())


def test_several_at_once_in_the_signals_order() -> None:
    random = np.random.default_rng(0)
    signal = changed(changed(field(3), "O1", 0.0), "Fp1", random.normal(0, 1e-3, 2500))
    signal = changed(signal, "C4", random.normal(0, 1e-5, 2500))
    assert list(bad_channels(signal)) == ["Fp1", "C4", "O1"]


def test_hum_counts_unless_it_is_going_to_be_removed() -> None:
    signal = field(1)
    hum = 2e-4 * np.sin(2 * np.pi * 50 * np.arange(2500) / 250)
    humming = changed(signal, "T7", signal.data[EAV.index("T7")] + hum)
    assert list(bad_channels(humming)) == ["T7"]
    assert bad_channels(humming, mains=50.0) == {}


def test_few_channels_are_not_compared() -> None:
    signal = field(1).pick(EAV[:7])
    noisy = changed(signal, "Fz", np.random.default_rng(0).normal(0, 1e-3, 2500))
    assert bad_channels(noisy) == {}
    assert list(bad_channels(changed(noisy, "F3", 1.0))) == ["F3"]


def test_channels_without_positions_are_compared_with_all() -> None:
    names = tuple(f"E{n}" for n in range(30))
    signal = field(2)
    assert bad_channels(EegSignal(signal.data, signal.rate, names)) == {}
    alone = changed(signal, "Pz", np.random.default_rng(0).normal(0, 1e-5, 2500))
    assert list(bad_channels(EegSignal(alone.data, signal.rate, names))) == [f"E{EAV.index('Pz')}"]


def test_short_and_all_flat_trials() -> None:
    assert bad_channels(field(1, seconds=1.0)) == {}
    dead = EegSignal(np.zeros((30, 500), np.float32), 250.0, EAV)
    assert set(bad_channels(dead)) == set(EAV)
    single = EegSignal(np.zeros((30, 1), np.float32), 250.0, EAV)
    assert set(bad_channels(single)) == set(EAV)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40))
def test_longest_run(values: list[int]) -> None:
    runs = [1]
    for a, b in pairwise(values):
        runs.append(runs[-1] + 1 if a == b else 1)
    firsts, lengths = constant_runs(np.array(values))
    assert lengths.max() == max(runs)
    assert np.repeat(firsts, lengths).tolist() == values


@settings(max_examples=20, deadline=None)
@given(SEEDS, CHANNELS)
def test_a_flat_channel_of_a_smooth_field_comes_back(seed: int, channel: str) -> None:
    signal = field(seed, noise=0.0, offsets=0.0)
    truth = signal.data[EAV.index(channel)]
    repaired, names = interpolate(changed(signal, channel, 0.0), [], [channel])
    assert names == (channel,)
    assert repaired.channels == EAV
    error = (repaired.data[EAV.index(channel)] - truth).std() / truth.std()
    assert error < 0.2, "the outermost electrodes are extrapolated; inside the error is a few per cent"
    others = [row for row, name in enumerate(EAV) if name != channel]
    assert np.array_equal(repaired.data[others], signal.data[others])


@pytest.mark.parametrize("channel", ["Fz", "Cz", "CP1", "Pz", "C3"])
def test_inside_the_montage_the_error_is_small(channel: str) -> None:
    errors = []
    for seed in range(20):
        signal = field(seed, noise=0.0, offsets=0.0)
        truth = signal.data[EAV.index(channel)]
        repaired, _ = interpolate(changed(signal, channel, 0.0), [], [channel])
        errors.append((repaired.data[EAV.index(channel)] - truth).std() / truth.std())
    assert np.median(errors) < 0.05


def test_lacking_electrodes_are_added_from_good_ones_only() -> None:
    whole = field(5, noise=0.0, offsets=0.0)
    kept = tuple(name for name in EAV if name not in ("Cz", "Pz"))
    part = changed(whole.pick(kept), "CP1", 1.0)  # a volt: every average with it is spoilt
    repaired, names = interpolate(part, ["Cz", "Pz"], ["CP1"])
    assert names == ("CP1", "Cz", "Pz")
    assert repaired.channels == (*kept, "Cz", "Pz")
    for name in names:
        truth = whole.data[EAV.index(name)]
        assert (repaired.data[repaired.channels.index(name)] - truth).std() < 0.1 * truth.std()


def test_a_constant_field_is_kept() -> None:
    weights = electrodes.spline_weights(("Cz", "T8"), tuple(name for name in EAV if name not in ("Cz", "T8")))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert abs(weights).max() < 1.0


def test_channels_that_cannot_be_interpolated_are_kept() -> None:
    names = (*EAV[:-1], "left")
    signal = EegSignal(field(1).data, 250.0, names)
    assert interpolate(signal, [], ["left"]) == (signal, ())
    # More than half are bad: the rest says too little about the head.
    same, repaired = interpolate(field(1), [], EAV[:16])
    assert repaired == ()
    assert np.array_equal(same.data, field(1).data)
    assert interpolate(field(1), [], EAV[:15])[1] == EAV[:15]


def test_real_trials_are_clean_and_a_planted_electrode_comes_back(real_data) -> None:
    table = pd.read_csv(real_data / "eeg" / "trials.csv")
    for row in table.iloc[::6].itertuples():
        signal = eeg.read_eeg(str(real_data / "eeg" / row.eeg), row.start, row.stop)
        assert bad_channels(signal, 50.0) == {}, row
        for channel in ("Cz", "F3"):
            truth = signal.data[signal.channels.index(channel)]
            assert list(bad_channels(changed(signal, channel, 0.0))) == [channel]
            repaired, _ = interpolate(changed(signal, channel, 0.0), [], [channel])
            again = repaired.data[signal.channels.index(channel)]
            assert np.corrcoef(again, truth)[0, 1] > 0.7
