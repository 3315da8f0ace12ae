"""The demo recordings: EAV's layout to the letter, truth that agrees with the signals, whole and reproducible."""

from __future__ import annotations

import errno
import fcntl
import json
import re
import shutil
import struct
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from failing import fails
from scipy.io import loadmat

from eavdash.demo import files, make, make_demo
from eavdash.demo.plan import EMOTIONS, MODALITIES, DemoSize, label_of, plan_subject
from eavdash.errors import DataError, UsageError

TINY = DemoSize(seconds=1.0, eeg_rate=100, audio_rate=8000, width=48, height=32, fps=4)
#: Rows of EAV's label matrix, as published.
ROWS = [f"{c}-{e}" for e in ("Neutral", "Sadness", "Anger", "Happiness", "Calmness") for c in ("L", "S")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo"), subjects=2, size=TINY, workers=1)


def truth_of(root: Path) -> dict:
    return json.loads((root / "truth.json").read_text(encoding="utf-8"))


def test_layout_is_eavs(demo: Path) -> None:
    assert demo.parts[-2:] == ("EAV", "EAV")
    assert sorted(p.name for p in demo.iterdir() if not p.name.startswith(".")) == [
        "subject1",
        "subject2",
        "truth.json",
    ]
    for number in (1, 2):
        folder = demo / f"subject{number}"
        assert sorted(p.name for p in folder.iterdir()) == ["Audio", "EEG", "Video"]
        assert sorted(p.name for p in (folder / "EEG").iterdir()) == [
            f"subject{number}_eeg.mat",
            f"subject{number}_eeg_label.mat",
        ]
        assert len(list((folder / "Video").iterdir())) == 200
        assert len(list((folder / "Audio").iterdir())) == 100


def test_names_of_the_files(demo: Path) -> None:
    videos = sorted(p.name for p in (demo / "subject1" / "Video").iterdir())
    assert videos[0] == "001_Trial_01_Listening_Neutral.mp4"
    assert videos[3] == "004_Trial_04_Speaking_Anger.mp4"
    assert videos[20] == "021_Trial_01_Listening_Neutral.mp4"
    assert videos[199] == "200_Trial_20_Speaking_Sadness.mp4"
    sounds = sorted(p.name for p in (demo / "subject1" / "Audio").iterdir())
    assert sounds[0] == "002_Trial_02_Speaking_Neutral_Aud.wav"
    assert sounds[19] == "040_Trial_02_Speaking_Calmness_aud.wav"
    assert sounds[20] == "042_Trial_04_Speaking_Neutral_aud.wav"
    assert sounds[99] == "200_Trial_10_Speaking_Sadness_aud.wav"
    assert (demo / "subject2" / "Audio" / "002_Trial_02_Speaking_Neutral_aud.wav").exists()
    for name in videos:
        assert re.fullmatch(
            r"\d{3}_Trial_\d{2}_(Listening|Speaking)_(Neutral|Anger|Happiness|Sadness|Calmness)\.mp4", name
        )


def test_order_of_trials() -> None:
    emotional = [label_of(n) for n in range(3, 201, 10)]
    letters = [{"A": "Anger", "C": "Calmness", "S": "Sadness", "H": "Happiness"}[c] for c in "AACCSSHACHHSSAACCHHS"]
    assert emotional == letters
    speaking = [label_of(n) for n in range(2, 201, 2)]
    assert {e: speaking.count(e) for e in EMOTIONS} == dict.fromkeys(EMOTIONS, 20)


@pytest.mark.parametrize(("subject", "key"), [(1, "seg"), (2, "seg1")])
def test_eeg_and_labels(demo: Path, subject: int, key: str) -> None:
    folder = demo / f"subject{subject}" / "EEG"
    signal = loadmat(folder / f"subject{subject}_eeg.mat")[key]
    assert signal.shape == (100, 30, 200)
    assert signal.dtype == np.float32
    label = loadmat(folder / f"subject{subject}_eeg_label.mat")["label"]
    assert label.shape == (10, 200)
    assert (label.sum(axis=0) == 1).all()
    for path in (demo / f"subject{subject}" / "Video").iterdir():
        number, _, _, condition, emotion = path.stem.split("_")
        assert ROWS[int(label[:, int(number) - 1].argmax())] == f"{condition[0]}-{emotion}"


def test_eavs_names_have_eleven_seg() -> None:
    assert [files.signal_key(n) for n in range(1, 43)].count("seg") == 11


def test_sound_is_float32_mono(demo: Path) -> None:
    path = demo / "subject2" / "Audio" / "002_Trial_02_Speaking_Neutral_aud.wav"
    assert struct.unpack_from("<HH", path.read_bytes(), 20) == (3, 1)  # format tag, channels
    info = soundfile.info(path)
    assert (info.subtype, info.samplerate, info.frames) == ("FLOAT", 8000, 8000)
    wave, _ = soundfile.read(path)
    assert 0.001 < np.abs(wave).max() <= 1


def test_video_is_h264(demo: Path) -> None:
    for name in ("001_Trial_01_Listening_Neutral.mp4", "002_Trial_02_Speaking_Neutral.mp4"):
        with av.open(demo / "subject1" / "Video" / name) as container:
            stream = container.streams.video[0]
            found = (stream.codec_context.name, stream.codec_context.pix_fmt, stream.width, stream.height)
            assert found == ("h264", "yuv420p", 48, 32)
            assert float(stream.average_rate) == 4
            assert sum(1 for _ in container.decode(stream)) == 4


def test_truth_speaks_of_every_trial(demo: Path) -> None:
    truth = truth_of(demo)
    assert truth["simulated"] is True
    assert truth["seed"] == 0
    assert truth["reliability"]["1"] == {"vision": 1.0, "audio": 1.0, "eeg": 0.0}
    assert truth["reliability"]["2"] == {"vision": 1.0, "audio": 0.0, "eeg": 1.0}
    assert [(t["subject"], t["trial"]) for t in truth["trials"]] == [(s, str(n)) for s in "12" for n in range(1, 201)]
    for trial in truth["trials"]:
        number = int(trial["trial"])
        assert trial["label"] == label_of(number)
        assert trial["condition"] == ("Listening", "Speaking")[number % 2 == 0]
        assert [p["modality"] for p in trial["planted"]] == (list(MODALITIES) if number % 2 == 0 else ["eeg"])
        for planted in trial["planted"]:
            assert 0 < planted["start"] < 0.5 < planted["stop"] < 1.0
            assert 0 < planted["strength"] <= 1
            assert bool(planted["place"]) == (planted["emotion"] != "Neutral" or planted["modality"] == "eeg")


def test_same_seed_same_bytes_however_many_processes(demo: Path, tmp_path: Path) -> None:
    again = make_demo(tmp_path, subjects=2, size=TINY, workers=2)
    assert _contents(again) == _contents(demo)


def test_continues_where_it_stopped(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo.parent, tmp_path / "EAV")
    root = tmp_path / "EAV" / "EAV"
    kept = root / "subject1" / "EEG" / "subject1_eeg.mat"
    stamp = kept.stat().st_mtime_ns
    shutil.rmtree(root / "subject2")
    (root / ".subject2.partial" / "Video").mkdir(parents=True)
    (root / ".subject2.partial" / "Video" / "half.mp4").write_bytes(b"half")
    seen: list[tuple[int, int, str]] = []
    make_demo(tmp_path, subjects=2, size=TINY, workers=1, report=lambda *step: seen.append(step))
    assert _contents(root) == _contents(demo)
    assert kept.stat().st_mtime_ns == stamp
    assert seen[0][:2] == (21, 42)
    assert seen[-1][:2] == (42, 42)
    # Fewer than there are: nothing to do, nothing lost.
    seen.clear()
    make_demo(tmp_path, subjects=1, size=TINY, workers=1, report=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(21, 21)]
    assert _contents(root) == _contents(demo)


def _contents(root: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    found.pop(".making.lock")
    return found


def test_other_settings_are_refused(demo: Path) -> None:
    before = _contents(demo)
    with fails(UsageError, where="truth.json", expected="seed 5", found="seed 0"):
        make_demo(demo.parents[1], subjects=2, seed=5, size=TINY, workers=1)
    with fails(UsageError, where="truth.json", expected="seconds 10.0"):
        make_demo(demo.parents[1], subjects=2, workers=1)
    assert _contents(demo) == before


def test_other_peoples_data_are_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "EAV" / "EAV" / "subject1"
    theirs.mkdir(parents=True)
    with fails(UsageError, found=("subject1", "truth.json")):
        make_demo(tmp_path, size=TINY, workers=1)
    (theirs.parent / "truth.json").write_text("[]")
    with fails(UsageError, where="truth.json", expected="earlier"):
        make_demo(tmp_path, size=TINY, workers=1)
    assert theirs.is_dir()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    root = tmp_path / "EAV" / "EAV"
    root.mkdir(parents=True)
    with (root / ".making.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with fails(UsageError, where="EAV", expected="no other process"):
            make_demo(tmp_path, size=TINY, workers=1)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with fails(UsageError, expected="writable", remedy="folder"):
        make_demo(tmp_path / "file", size=TINY, workers=1)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_media", full)
    with fails(DataError, found="No space left on device", remedy="disk space") as caught:
        make_demo(tmp_path, subjects=1, size=TINY, workers=1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "EAV" / "EAV" / "subject1").exists()


@pytest.mark.parametrize(("subjects", "seed"), [(0, 0), (1000, 0), (1, -1)])
def test_impossible_requests(tmp_path: Path, subjects: int, seed: int) -> None:
    with fails(UsageError, found=str(seed if seed < 0 else subjects)):
        make_demo(tmp_path, subjects=subjects, seed=seed, size=TINY)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_cannot_write_or_is_killed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "EAV" / "EAV"
    (root / ".subject1.partial" / "EEG").parent.mkdir(parents=True)
    monkeypatch.setattr(make.shutil, "rmtree", lambda *_, **__: None)
    (root / ".subject1.partial" / "EEG").touch()
    with fails(UsageError, where="EEG", expected="a writable folder"):
        make_demo(tmp_path, subjects=1, size=TINY, workers=2)
    monkeypatch.setattr(make, "python_module", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with fails(DataError, where=str(root), found="killed"):
        make_demo(tmp_path, subjects=1, size=TINY, workers=2)


def test_processes_make_the_same_eeg_as_this_one(tmp_path: Path) -> None:
    size = replace(TINY, seconds=5.0, eeg_rate=500, fps=1)
    root = make_demo(tmp_path, subjects=1, size=size, workers=2)
    files.write_eeg(tmp_path / "here", plan_subject(0, 1, size), size)
    name = "EEG/subject1_eeg.mat"
    assert (tmp_path / "here" / name).read_bytes() == (root / "subject1" / name).read_bytes()
