"""Measures of single recordings: each planted defect is seen, and nothing is seen in a clean recording."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import eav_files
import health_files
import made_media
import numpy as np
import pytest
import scipy.io
import soundfile

from eavdash.health.measures import audio, eeg
from eavdash.health.measures.base import MeasureRequest, Part
from eavdash.health.measures.measure import measure_file


def seen(column: str, file: object, part: Part | None = None) -> dict[str, object]:
    """The measures of one part; the answer survives JSON as the process that measures sends it."""
    answer = measure_file(MeasureRequest(column, str(file), (part or Part(),)))
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert answer["problem"] == "", answer
    return answer["parts"][0]


def test_plateaus_are_counted_at_any_position() -> None:
    wave = np.array([[1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]], dtype=np.float32)
    assert audio._plateaus(wave.T, 1.0) == 7
    assert audio._plateaus(wave[:, :3].T, 1.0) == 0
    assert audio._plateaus(np.ones((3, 2), np.float32), 1.0) == 6
    assert audio._plateaus(np.zeros((0, 2), np.float32), 1.0) == 0


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16", "PCM_24", "PCM_U8"])
def test_a_clean_voice_is_neither_clipped_nor_silent(tmp_path: Path, subtype: str) -> None:
    measures = seen("audio", made_media.wav(tmp_path / "a.wav", health_files.voice(2.5), subtype=subtype))
    assert measures["clipped"] == measures["silent"] == measures["not_finite"] == 0
    assert measures["duration"] == 2.5
    assert (measures["rate"], measures["channels"], measures["samples"]) == (16000, 1, 40000)
    wave = health_files.voice(2.5)
    assert measures["rms"] == pytest.approx(20 * math.log10(wave.std()), abs=0.1)
    assert measures["peak"] == pytest.approx(np.abs(wave).max(), abs=0.01)


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16", "PCM_24", "PCM_U8"])
def test_the_share_of_clipped_samples_is_that_of_a_clipped_sine(tmp_path: Path, subtype: str) -> None:
    wave = made_media.sine(200, 2, 16000, amplitude=2.0)  # above 1 for two thirds of the time
    measures = seen("audio", made_media.wav(tmp_path / "a.wav", wave.clip(-1, 1), subtype=subtype))
    assert measures["clipped"] == pytest.approx(2 / 3, abs=0.03)
    loud = made_media.wav(tmp_path / "b.wav", made_media.sine(200, 2, 16000, amplitude=0.999), subtype=subtype)
    assert seen("audio", loud)["clipped"] < 0.001 if subtype != "PCM_U8" else True
    over = made_media.wav(tmp_path / "c.wav", made_media.sine(203, 2, 16000, amplitude=1.7))  # floats have no limit
    assert seen("audio", over)["clipped"] == 0


def test_clipping_is_counted_across_blocks_from_the_highest_level_on() -> None:
    first, second = np.full((50, 1), 0.995, np.float32), np.full((50, 1), 1.0, np.float32)
    quiet = np.zeros((50, 1), np.float32)
    finding_with = audio.of_blocks(iter([np.concatenate([quiet, first]), np.concatenate([quiet, second])]), 100)
    assert finding_with["clipped"] == 50 / 200  # 0.995 was not the limit after all
    finding_with = audio.of_blocks(iter([second, quiet, -second[:25]]), 50)
    assert finding_with["clipped"] == 75 / 125
    # A decoder's blocks of a few samples are joined before plateaus are counted.
    pieces = [second[n : n + 2] for n in range(0, 50, 2)]
    assert audio.of_blocks(iter(pieces), 100)["clipped"] == 1


def test_digital_silence_is_any_constant_and_a_share(tmp_path: Path) -> None:
    measures = seen("audio", made_media.wav(tmp_path / "a.wav", np.full(16000, 0.25)))
    assert measures["silent"] == 1
    assert "rms" not in measures  # no level: JSON has no minus infinity
    half = np.concatenate([np.zeros(16000), health_files.voice(1.0)])
    assert seen("audio", made_media.wav(tmp_path / "b.wav", half))["silent"] == pytest.approx(0.5)
    stereo = np.stack([np.zeros(16000), health_files.voice(1.0)], axis=1)  # one ear of two hears something
    assert seen("audio", made_media.wav(tmp_path / "c.wav", stereo))["silent"] == 0


def test_samples_that_are_not_finite_are_a_problem(tmp_path: Path) -> None:
    wave = health_files.voice()
    wave[100:103] = np.nan, np.inf, -np.inf
    measures = seen("audio", made_media.wav(tmp_path / "a.wav", wave))
    assert measures["not_finite"] == 3
    assert "found 3 that are not" in str(measures["problem"])
    assert measures["peak"] == pytest.approx(np.abs(np.nan_to_num(wave, posinf=0, neginf=0)).max())


def test_a_segment_is_measured_by_itself(tmp_path: Path) -> None:
    wave = np.concatenate([np.zeros(16000), made_media.sine(200, 1, 16000, 3.0).clip(-1, 1), health_files.voice(1)])
    file = made_media.wav(tmp_path / "a.wav", wave)
    silent, clipped, clean = (seen("audio", file, Part(None, float(n), n + 1.0)) for n in range(3))
    assert (silent["silent"], clipped["silent"], clean["silent"]) == (1, 0, 0)
    assert (clean["clipped"], silent["clipped"]) == (0, 0)
    assert float(str(clipped["clipped"])) > 0.7
    assert clean["duration"] == 1
    assert seen("audio", file, Part(None, 2.5, None))["duration"] == 0.5


def test_a_sound_track_is_measured_like_a_sound(tmp_path: Path) -> None:
    measures = seen("audio", health_files.film(tmp_path / "a.mp4", sound=0.0, seconds=3))
    assert measures["rate"] == 16000
    assert measures["duration"] == pytest.approx(2.9, abs=0.2)
    assert measures["silent"] < 0.1


def test_a_clean_brain_has_nothing(tmp_path: Path) -> None:
    names = ["Fp1", "Fp2", "C3", "Cz"]
    measures = seen("eeg", made_media.fif(tmp_path / "a_raw.fif", health_files.brain(), names))
    assert (measures["flat"], measures["saturated"]) == (0, 0)
    assert measures["flat_channels"] == measures["saturated_channels"] == ""
    assert measures["amplitude"] == pytest.approx(20, rel=0.05)
    assert float(str(measures["line_noise"])) < 3
    assert (measures["rate"], measures["channels"], measures["duration"]) == (250, 4, 4)


def test_flat_and_saturated_channels_are_named(tmp_path: Path) -> None:
    data = health_files.brain(6, 10)
    data[1] = 3e-6  # constant
    data[2] *= 0.001  # only what the amplifier itself makes
    data[3, 900:] = data[3, 900]  # the plug came off in the middle
    data[4] = (10 * data[4]).clip(-150e-6, 150e-6)  # at the amplifier's limit again and again
    names = ["Fp1", "Fp2", "C3", "Cz", "C4", "O1"]
    measures = seen("eeg", made_media.fif(tmp_path / "a_raw.fif", data, names))
    assert measures["flat_channels"] == "Fp2, Cz"
    assert measures["saturated_channels"] == "C4"
    assert measures["weak_channels"] == "C3"
    assert (measures["flat"], measures["saturated"], measures["weak"]) == (2, 1, 1)
    assert measures["amplitude"] == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("rate", [250.0, 512.0, 128.0])
@pytest.mark.parametrize("mains", [50.0, 60.0])
def test_line_noise_is_found_at_its_frequency(rate: float, mains: float) -> None:
    data = health_files.brain(3, 10, rate)
    clean = eeg.of_signal(data, rate)
    noisy = eeg.of_signal(data + made_media.sine(mains, 10, rate, 10e-6), rate)
    other = {50.0: 60.0, 60.0: 50.0}[mains]
    if mains + eeg.BESIDE[0] < rate / 2:
        assert (clean[f"noise{mains:.0f}"] < 3).all()
        assert (noisy[f"noise{mains:.0f}"] > 20).all()
        assert (noisy[f"noise{other:.0f}"][np.isfinite(noisy[f"noise{other:.0f}"])] < 3).all()
    assert np.isnan(eeg.of_signal(data[:, : round(rate)], rate)["noise50"]).all()  # a second is too short
    assert np.isnan(eeg.of_signal(data, 90.0)["noise50"]).all()


def test_noise_beside_the_mains_is_not_line_noise() -> None:
    data = health_files.brain(2, 20)
    assert (eeg.of_signal(data + made_media.sine(44, 20, 250, 20e-6), 250)["noise50"] < 3).all()


@pytest.mark.parametrize("column", ["eeg", "audio", "video"])
def test_a_segment_beyond_the_end_has_no_length(tmp_path: Path, column: str) -> None:
    files = {
        "eeg": lambda: made_media.fif(tmp_path / "a_raw.fif", health_files.brain(), ["Fp1", "Fp2", "C3", "Cz"]),
        "audio": lambda: made_media.wav(tmp_path / "a.wav", health_files.voice(4)),
        "video": lambda: str(health_files.film(tmp_path / "a.mp4", seconds=4)),
    }
    answer = measure_file(MeasureRequest(column, files[column](), (Part(None, 90.0, 91.0), Part(None, 90.0, None))))
    assert answer["problem"] == ""
    assert answer["length"] == pytest.approx(4, abs=0.2)
    assert [p["problem"] for p in answer["parts"]] == ["", ""]


def test_trials_of_an_array_are_measured_one_by_one(tmp_path: Path) -> None:
    array = np.stack([1e6 * health_files.brain(30, 2, 500, seed=n).T for n in range(4)], axis=2)
    array[:, 5, 1] = 7.0
    array[3, 4, 2] = np.nan
    array[..., 3] = array[..., 0]
    file = made_media.mat(tmp_path / "subject1_eeg.mat", array)
    answer = measure_file(MeasureRequest("eeg", file, tuple(Part(n) for n in (1, 2, 3, 4, 9))))
    first, second, third, fourth, none = answer["parts"]
    assert (first["flat"], second["flat"], second["flat_channels"]) == (0, 1, "F4")
    assert "expected finite samples" in third["problem"]
    assert "#9" in none["problem"]
    assert first["content"] == fourth["content"] != second["content"]
    assert answer["length"] == 2
    assert len(answer["names"]) == 30


def test_a_moving_picture_has_nothing(tmp_path: Path) -> None:
    for name, keys in (("short.mp4", 250), ("long.mkv", 5)):
        measures = seen("video", health_files.film(tmp_path / name, keys=keys, seconds=3))
        assert (measures["black"], measures["frozen"], measures["variable_rate"]) == (0, 0, 0)
        assert (measures["frames"], measures["width"], measures["height"]) == (30, 64, 48)
        assert (measures["rotation"], measures["sound_track"]) == (0, 0)
        assert measures["rate"] == pytest.approx(10, abs=0.5)
        assert measures["longest_gap"] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("keys", [5, 250])
def test_black_and_frozen_pictures_are_shares(tmp_path: Path, keys: int) -> None:
    dark = [np.full((48, 64, 3), 3, np.uint8)] * 40
    measures = seen("video", health_files.film(tmp_path / "black.mp4", dark, seconds=4, keys=keys))
    assert measures["black"] == 1
    assert float(str(measures["brightness"])) < 10
    still = [health_files.moving(3)] * 40
    measures = seen("video", health_files.film(tmp_path / "frozen.mp4", still, seconds=4, keys=keys))
    assert (measures["frozen"], measures["black"]) == (1, 0)
    stops = [health_files.moving(min(n, 18)) for n in range(40)]
    measures = seen("video", health_files.film(tmp_path / "stops.mp4", stops, seconds=4, keys=keys))
    assert 0.4 <= float(str(measures["frozen"])) <= 0.6


def test_a_mouth_that_moves_is_enough(tmp_path: Path) -> None:
    pictures = []
    for n in np.random.default_rng(0).permutation(20):
        picture = np.full((480, 640, 3), 120, np.uint8)
        picture[300 : 304 + n, 300:340] = 40
        pictures.append(picture)
    assert seen("video", health_files.film(tmp_path / "a.mp4", pictures, keys=250))["frozen"] == 0


def test_rates_gaps_and_rotation_are_read_from_the_packets(tmp_path: Path) -> None:
    uneven = [0.0, 0.1, 0.15, 0.3, 0.35, 0.5, 0.75, 0.8, 1.0, 1.3, 1.35, 1.5]
    measures = seen("video", health_files.film(tmp_path / "vfr.mkv", times=uneven))
    assert measures["variable_rate"] == 1
    gap = [*(n / 10 for n in range(10)), *(3 + n / 10 for n in range(10))]
    measures = seen("video", health_files.film(tmp_path / "gap.mp4", times=gap))
    assert measures["longest_gap"] == pytest.approx(2.1, abs=0.01)
    thirds = [round(n / 30, 3) for n in range(60)]  # milliseconds: 33, 33, 34
    assert seen("video", health_files.film(tmp_path / "cfr.mkv", times=thirds))["variable_rate"] == 0
    turned = seen("video", health_files.film(tmp_path / "turned.mp4", rotation=90))
    assert turned["rotation"] in (90, 270)
    late = seen("video", health_files.film(tmp_path / "late.mkv", sound=0.7, seconds=3))
    assert late["sound_track"] == 1
    assert late["sound_offset"] == pytest.approx(0.7, abs=0.1)


def test_a_person_who_hardly_moves_does_not_stand_still(tmp_path: Path) -> None:
    pictures = [health_files.moving(0)] * 40
    for n in (7, 8, 16, 17, 25, 26, 34):  # a blink now and then, at none of the times that are checked first
        pictures[n] = health_files.moving(1)
    measures = seen("video", health_files.film(tmp_path / "a.mp4", pictures, seconds=4, keys=250))
    assert 0.1 < float(str(measures["frozen"])) < 0.3


def test_a_segment_of_a_video_is_measured_by_itself(tmp_path: Path) -> None:
    pictures = [health_files.moving(min(n, 20)) for n in range(60)]
    file = health_files.film(tmp_path / "a.mp4", pictures, seconds=6)
    assert seen("video", file, Part(None, 0.0, 2.0))["frozen"] == 0
    late = seen("video", file, Part(None, 3.0, 6.0))
    assert (late["frozen"], late["frames"]) == (1, 30)
    assert late["duration"] == pytest.approx(3, abs=0.1)


def test_a_still_picture_has_no_length(tmp_path: Path) -> None:
    import PIL.Image

    PIL.Image.fromarray(health_files.moving(0)).save(tmp_path / "a.png")
    answer = measure_file(MeasureRequest("video", str(tmp_path / "a.png"), (Part(),)))
    assert "length" not in answer
    assert answer["parts"][0]["frames"] == 1
    assert "frozen" not in answer["parts"][0]
    assert answer["parts"][0]["black"] == 0


@pytest.mark.parametrize("column", ["eeg", "audio", "video"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"RIFF\x00\x00\x00\x00WAVE", b"\x00" * 5000])
def test_what_cannot_be_read_is_a_problem_and_never_raised(tmp_path: Path, column: str, content: bytes) -> None:
    suffix = {"eeg": ".edf", "audio": ".wav", "video": ".mp4"}[column]
    (tmp_path / f"a{suffix}").write_bytes(content)
    answer = measure_file(MeasureRequest(column, str(tmp_path / f"a{suffix}"), (Part(),)))
    assert str(tmp_path) in answer["problem"]
    assert answer["kind"]


def test_problems_of_one_kind_have_one_name(tmp_path: Path) -> None:
    kinds = set()
    for n, share in enumerate((0.5, 0.7)):
        file = Path(made_media.wav(tmp_path / f"{n}.wav", health_files.voice(1 + n)))
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
        kinds.add(measure_file(MeasureRequest("audio", str(file), (Part(),)))["kind"])
    assert len(kinds) == 1


def test_the_signature_depends_on_the_parts_alone() -> None:
    assert MeasureRequest("audio", "a", (Part(),)).signature == ""
    signatures = {MeasureRequest("eeg", "a", parts).signature for parts in ((Part(1),), (Part(2),), (Part(1), Part(2)))}
    assert len(signatures - {""}) == 3
    assert len({MeasureRequest("eeg", "a", (Part(1),), hum).signature for hum in (0.0, 50.0, 60.0)}) == 3
    assert MeasureRequest("eeg", "a", (Part(1),)).signature == MeasureRequest("eeg", "b", (Part(1),)).signature


def test_measures_of_the_layout_that_tests_share(tmp_path: Path) -> None:
    folder = eav_files.make_subject(tmp_path, trials=20, samples=500)
    answer = measure_file(
        MeasureRequest("eeg", str(folder / "EEG" / "subject1_eeg.mat"), tuple(Part(n) for n in range(1, 21)))
    )
    assert answer["problem"] == ""
    assert [p["duration"] for p in answer["parts"]] == [1] * 20
    scipy.io.savemat(folder / "EEG" / "subject1_eeg.mat", {"seg1": np.zeros((3, 4))})
    assert (
        "expected one"
        in measure_file(MeasureRequest("eeg", str(folder / "EEG" / "subject1_eeg.mat"), (Part(1),)))["problem"]
    )


def test_an_hour_of_sound_is_not_in_memory_at_once(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16000, 1) as out:
        for n in range(60):
            out.write(health_files.voice(10, seed=n))
    tracemalloc.start()
    seen("audio", path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20  # ten minutes as float32 alone are 38 MB; what is measured at once is a million samples


def test_a_long_recording_is_measured_segment_by_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = health_files.brain(4, 21)
    data[1] = 0
    data[2, : 250 * 2] = 0  # too short to be flat in any segment
    data[3] += made_media.sine(50, 21, 250, 50e-6)
    file = made_media.fif(tmp_path / "a_raw.fif", data, ["Fp1", "Fp2", "C3", "Cz"])
    whole = seen("eeg", file)
    monkeypatch.setattr(eeg, "_SEGMENT", 6.0)
    pieces = seen("eeg", file)
    assert pieces["flat_channels"] == whole["flat_channels"] == "Fp2"
    assert (pieces["duration"], pieces["samples"]) == (whole["duration"], whole["samples"]) == (21, 5250)
    assert pieces["amplitude"] == pytest.approx(whole["amplitude"], rel=0.3)
    assert pieces["line_noise"] == pytest.approx(whole["line_noise"], rel=0.5)


def test_a_process_that_measures_starts_without_pandas() -> None:
    code = (
        "import sys, eavdash.health.measures.worker; print([m for m in ('pandas', 'torch', 'mne') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
