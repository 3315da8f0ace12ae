"""The pointing game: a perfect map hits, a random one hits by chance, a map on wrong axes loses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eavdash.data.audio.reading import logmel, mel_hertz
from eavdash.explain.pointing import COLUMNS, LEAKAGE, Axes, Pointing, point, point_frequency, table
from eavdash.explain.spectrum import by_frequency, frequencies
from eavdash.explain.truth import Planted

CHANNELS = ("Fz", "C3", "Cz", "C4", "Pz", "O1", "Oz", "O2")
HERTZ = np.linspace(40, 4000, 96)
TIMES = {  # of two windows of 5 s
    "vision": np.array([[0.5, 1.5, 2.5, 3.5, 4.5], [5.5, 6.5, 7.5, 8.5, 9.5]]),
    "audio": np.stack([np.arange(50) / 10, 5 + np.arange(50) / 10]),
    "eeg": np.stack([np.arange(100) / 20, 5 + np.arange(100) / 20]),
}
#: The picture is the right half of the frame.
CROPS = np.tile([0.5, 0.0, 1.0, 1.0], (2, 5, 1))
AXES = {
    "vision": Axes(TIMES["vision"], crops=CROPS),
    "audio": Axes(TIMES["audio"], frequencies=HERTZ),
    "eeg": Axes(TIMES["eeg"], channels=CHANNELS),
}
PLANTED = {
    "vision": Planted("Anger", 6.0, 9.0, {"mouth": [[0.7, 0.6, 0.85, 0.8]], "eyes": [[0.6, 0.2, 0.65, 0.3]]}),
    "audio": Planted("Anger", 6.0, 9.0, {"pitch": (100.0, 300.0), "loudness": None}),
    "eeg": Planted("Calmness", 6.0, 9.0, {"O1": (8.0, 12.0), "Oz": (8.0, 12.0)}),
}


def perfect(modality: str) -> np.ndarray:
    """A map that is 1 where and when the expression is, and 0 elsewhere, made without the code that is tested."""
    if modality == "vision":
        found = np.zeros((2, 5, 20, 20))
        found[1, 1:4, 12:16, 8:14] = 1  # the mouth in the picture: 0.4 to 0.7 across, 0.6 to 0.8 down
        return found
    if modality == "audio":
        found = np.zeros((2, 50, len(HERTZ)))
        found[1, 10:41, 2:7] = 1  # 123 to 290 Hz
        return found
    found = np.zeros((2, len(CHANNELS), 100))
    found[1, 5, 20:80] = 1
    return found


def hits(points: tuple[Pointing, ...]) -> dict[str, bool]:
    return {p.measure: p.hit for p in points}


@pytest.mark.parametrize("modality", AXES)
def test_a_perfect_map_hits_everything(modality: str) -> None:
    found = point(modality, perfect(modality), AXES[modality], PLANTED[modality])
    assert len(found) == (3 if modality == "audio" else 2)
    assert all(p.hit and 0 < p.chance < 0.5 for p in found)


@pytest.mark.parametrize("modality", AXES)
def test_random_maps_hit_by_chance(modality: str) -> None:
    random = np.random.default_rng(0)
    shape = perfect(modality).shape
    found = table(
        p for _ in range(400) for p in point(modality, random.normal(size=shape), AXES[modality], PLANTED[modality])
    )
    assert (found["n"] == 400).all()
    assert ((found["share"] - found["chance"]).abs() < 0.08).all()
    assert (found["low"] < found["chance"]).all()
    assert (found["chance"] < found["high"]).all()


def test_chance_is_the_share_of_the_map() -> None:
    place, both = point("vision", perfect("vision"), AXES["vision"], PLANTED["vision"])
    assert place.chance == pytest.approx((4 * 6 + 2 * 2) / 400)
    assert both.chance == pytest.approx(place.chance * 0.3)
    assert point("eeg", perfect("eeg"), AXES["eeg"], PLANTED["eeg"])[0].chance == 2 / 8


def test_a_stretched_time_axis_loses() -> None:
    """The last 1.5 s of a 6.5 s trial, drawn over a whole window of which most is padding."""
    for modality, measure in (
        ("vision", "region and time"),
        ("audio", "pitch band and time"),
        ("eeg", "electrode x time"),
    ):
        rate = {"vision": 1, "audio": 10, "eeg": 20}[modality]
        last = 5 + np.arange(5 * rate) / rate + (0.5 if modality == "vision" else 0.0)
        known = np.where(last < 6.5, last, np.nan)
        stretched = np.where(last < 6.5, 5 + (last - 5) * 0.3, np.nan)
        shown = replace(PLANTED[modality], start=6.0 if modality != "vision" else 5.4, stop=6.5)
        values = np.zeros_like(perfect(modality))
        values[1] = np.roll(
            perfect(modality)[1], {"vision": -1, "audio": 1, "eeg": 0}[modality], axis=0 if modality != "eeg" else 1
        )
        for name, axis, hit in (("right", known, True), ("stretched", stretched, False)):
            axes = replace(AXES[modality], times=np.stack([TIMES[modality][0], axis]))
            assert hits(point(modality, values, axes, shown))[measure] == hit, (modality, name)


def test_swapped_channels_bands_and_crops_lose() -> None:
    swapped = replace(AXES["eeg"], channels=CHANNELS[::-1])
    assert set(hits(point("eeg", perfect("eeg"), swapped, PLANTED["eeg"])).values()) == {False}
    reversed_bands = replace(AXES["audio"], frequencies=HERTZ[::-1])
    assert hits(point("audio", perfect("audio"), reversed_bands, PLANTED["audio"])) == {
        "time": True,
        "pitch band": False,
        "pitch band and time": False,
    }
    elsewhere = replace(AXES["vision"], crops=CROPS[..., [1, 1, 0, 3]])  # the left half
    assert not hits(point("vision", perfect("vision"), elsewhere, PLANTED["vision"]))["region"]


def test_a_tone_is_shown_beside_its_frequency_as_far_as_the_bands_of_sound_reach() -> None:
    """The skirts of a tone at 110 Hz are above -25 dB only within the leakage, and above -15 dB up to half of it."""
    time = np.arange(16000) / 16000
    hertz = np.array(mel_hertz(16000, 128))
    energies = logmel(0.5 * np.sin(2 * np.pi * 110 * time).astype(np.float32), 16000).mean(axis=0)
    decibels = 10 / np.log(10) * (energies - energies.max())
    wide = hertz[1] - hertz[0]  # a mel band reaches to the centres of its neighbours
    assert (decibels[np.abs(hertz - 110) > LEAKAGE + wide] < -25).all()
    assert (decibels[(np.abs(hertz - 110) < LEAKAGE / 2) & (decibels > -60)] > -15).all()
    cells = np.zeros((2, 50, len(HERTZ)))
    cells[1, 20:22, 8:12] = 1  # their centre is at 435 Hz
    low = replace(PLANTED["audio"], where={"pitch": (480.0, 700.0)})
    assert hits(point("audio", cells, AXES["audio"], low))["pitch band and time"]
    high = replace(PLANTED["audio"], where={"pitch": (560.0, 700.0)})
    assert not hits(point("audio", cells, AXES["audio"], high))["pitch band and time"]


def test_a_band_is_that_of_the_sum_over_time_which_single_cells_do_not_outweigh() -> None:
    values = perfect("audio")
    values[1, 15:17, 60:64], values[1, 19:21, 60:64] = 9, -9  # for and against, elsewhere
    found = hits(point("audio", values, AXES["audio"], PLANTED["audio"]))
    assert found == {"time": True, "pitch band": True, "pitch band and time": False}


def test_samples_have_a_time_but_no_band() -> None:
    values = perfect("audio").sum(axis=2, keepdims=True)
    (found,) = point("audio", values, replace(AXES["audio"], frequencies=np.zeros(0)), PLANTED["audio"])
    assert (found.measure, found.hit) == ("time", True)


def test_padding_is_never_the_highest() -> None:
    for modality in AXES:
        times = TIMES[modality].copy()
        times[0] = np.nan
        values = perfect(modality)
        values[0] = 9.0
        assert all(p.hit for p in point(modality, values, replace(AXES[modality], times=times), PLANTED[modality]))


def test_frequencies_find_a_sine_at_its_electrode() -> None:
    wave = np.sin(2 * np.pi * 9.0 * np.arange(400) / 100) * np.ones((1, 8, 1))
    rest = 0.1 * np.random.default_rng(2).normal(size=wave.shape)
    weight = np.zeros((1, 8, 1))
    weight[0, 5] = 1.0  # O1
    axes = replace(AXES["eeg"], frequencies=frequencies(400, 100.0))
    found = by_frequency(wave + rest, wave * weight)
    control = by_frequency(wave + rest, np.roll(wave * weight, 1, axis=1))  # at Oz
    (right,) = point_frequency(found, axes, PLANTED["eeg"], control)
    assert (right.hit, right.control) == (True, True)
    assert right.chance == pytest.approx(2 / (8 * 13))  # O1 and Oz at 8 to 12 Hz, of 13 cells of 4 Hz up to 50 Hz
    assert not point_frequency(np.roll(found, 20, axis=2), axes, PLANTED["eeg"])[0].hit
    assert not point_frequency(found, replace(axes, channels=CHANNELS[::-1]), PLANTED["eeg"])[0].hit


def test_what_the_map_lacks_is_no_miss() -> None:
    elsewhere = replace(PLANTED["eeg"], where={"T7": (18.0, 35.0)})
    axes = replace(AXES["eeg"], frequencies=frequencies(100, 100.0))
    assert point("eeg", perfect("eeg"), axes, elsewhere) == ()
    assert point_frequency(np.ones((1, 8, 51)), axes, elsewhere) == ()


def test_controls_are_measured_alike() -> None:
    for modality in AXES:
        wrong = 0.1 - perfect(modality)
        found = point(modality, perfect(modality), AXES[modality], PLANTED[modality], wrong)
        assert [(p.hit, p.control) for p in found] == [(True, False)] * len(found)


def test_a_table_has_intervals_controls_and_noise_subjects() -> None:
    made = [Pointing("eeg", "electrode", hit, 0.1, control=not hit) for hit in (True, True, True, False)]
    noise = [Pointing("eeg", "electrode", hit, 0.4, noise=True) for hit in (False, True, False)]
    first = Pointing("vision", "region", True, 0.2)
    found = table([*noise, *made, first])
    assert list(found.columns) == list(COLUMNS)
    assert list(found["modality"]) == ["vision", "eeg"]
    row = found.iloc[1]
    assert (row["hits"], row["n"], row["share"], row["control"]) == (3, 4, 0.75, 0.25)
    assert (row["noise_hits"], row["noise_n"]) == (1, 3)
    assert row["chance"] == pytest.approx(0.1)
    assert (round(row["low"], 2), round(row["high"], 2)) == (0.3, 0.95)
    assert np.isnan(found.iloc[0]["control"])
    assert table([]).empty


def test_a_table_of_noise_alone_claims_nothing() -> None:
    row = table([Pointing("eeg", "electrode", True, 0.4, noise=True)]).iloc[0]
    assert (row["n"], row["low"], row["high"], row["chance"]) == (0, 0.0, 1.0, 0.4)
    assert np.isnan(row["share"])
