"""A study of heterogeneous recordings: different montages, sampling rates, lengths and missing modalities."""

from __future__ import annotations

import json
from pathlib import Path

import av
import mne
import numpy as np
import pandas as pd
import pytest
import soundfile
from recordings import FAST, LABELS, make_recordings

from eavdash.config.choices import COLUMN, STAGES
from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.explain.trial import explain_trial
from eavdash.results import tables
from eavdash.store import RunDir, StudyDir
from eavdash.studies.write import prepare
from eavdash.training.run import train_run

MONTAGES = {"2": ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "Cz", "P3", "P4", "O1", "O2"), "3": ("C3", "C4", "Cz", "Pz")}
RATES = {"2": 250.0, "3": 128.0}
SHORT, LONG = 0.9, 5.2  # seconds; a window has 2


def seconds_of(subject: str, trial: int) -> float:
    """Subject 1 has trials of 2 s, 2 of 5.2 s, and 3 some of each and some shorter than half a window."""
    return {"1": 2.0, "2": LONG}.get(subject, (SHORT, 2.0, LONG)[trial % 3])


def absent(subject: str, trial: int) -> set[str]:
    """Return the empty columns: subject 3 has no audio; some trials of 1 and 2 lack one, two or all modalities."""
    gone = {"audio"} if subject == "3" else set()
    if subject == "1":
        gone |= {1: {"audio"}, 2: {"eeg"}, 4: {"video", "audio"}, 7: {"audio", "eeg"}}.get(trial, set())
    if subject == "2":
        gone |= {3: {"video"}, 6: {"eeg", "audio", "video"}, 9: {"eeg", "video"}}.get(trial, set())
    return gone


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trial table: EAV's arrays at 500 Hz and 16 kHz beside FIF files, stereo at 44.1 kHz, and other image sizes."""
    folder = tmp_path_factory.mktemp("mixed")
    path = make_recordings(folder, subjects=3)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for row in frame.to_dict("records"):
        subject, trial, kind = row["subject"], int(row["trial"]), LABELS.index(row["label"])
        at = (frame["subject"] == subject) & (frame["trial"] == row["trial"])
        if subject != "1":
            random, seconds = np.random.default_rng([int(subject), trial]), seconds_of(subject, trial)
            stem = folder / f"{subject}-{trial}"
            frame.loc[at, "eeg"] = _eeg(Path(f"{stem}_raw.fif"), subject, seconds, kind, random)
            _sound(Path(f"{stem}.wav"), seconds, kind, random)
            _video(Path(f"{stem}.mp4"), seconds, kind, random)
        for column in absent(subject, trial):
            frame.loc[at, column] = ""
    frame.to_csv(path, index=False)
    return path


def _eeg(path: Path, subject: str, seconds: float, kind: int, random: np.random.Generator) -> str:
    names, rate = MONTAGES[subject], RATES[subject]
    time = np.arange(round(seconds * rate)) / rate
    data = 1e-5 * random.standard_normal((len(names), len(time)))
    data[kind] += 3e-5 * np.sin(2 * np.pi * (6, 10, 20)[kind] * time)
    info = mne.create_info(list(names), rate, "eeg")
    mne.io.RawArray(data, info, verbose="error").save(path, overwrite=True, verbose="error")
    return path.name


def _sound(path: Path, seconds: float, kind: int, random: np.random.Generator) -> None:
    time = np.arange(round(seconds * 44100)) / 44100
    tone = 0.3 * np.sin(2 * np.pi * (220, 600, 1500)[kind] * time) + 0.02 * random.standard_normal(time.size)
    soundfile.write(path, np.stack([tone, tone], axis=1).astype("float32"), 44100, subtype="FLOAT")


def _video(path: Path, seconds: float, kind: int, random: np.random.Generator) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 80, "yuv420p"
        for _ in range(round(25 * seconds)):
            image = np.full((80, 48, 3), 90, dtype="uint8") + random.integers(0, 20, (80, 48, 3), dtype="uint8")
            image[20 + 12 * kind : 30 + 12 * kind, 8:40] = (220, 220, 220)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def train(table: Path, name: str, root: Path, *settings: str) -> tuple[StudyDir, dict[str, str]]:
    config = with_epochs(with_settings(preset("quick"), (*FAST, "vision.crop=centre", *settings)), 2)
    plan = prepare(table, name, config, Selection(folds=(0,)), root)
    for run in map(plan.study.run, plan.runs):
        assert train_run(run), run.name
        run.transition("running")
        run.transition("done", checksums=run.seal())
    return plan.study, plan.left_out


def windows(run: RunDir) -> pd.DataFrame:
    frame = pd.read_parquet(run.predictions_file)
    return frame[frame["frame"] == -1].astype({"trial": int})


def check(run: RunDir) -> None:
    """Check that every trial with a used recording is predicted, and that absent modalities get no attention."""
    frame, config = windows(run), run.config()
    splits = pd.read_csv(run.study.splits_file, dtype=str)
    mine = splits[(splits["fold"] == "0") & splits["subject"].isin(set(frame["subject"]))]
    modalities = config.input.modalities
    read = {COLUMN[m] for m in modalities}
    keys = [(s, int(t)) for s, t in mine[["subject", "trial"]].itertuples(index=False)]
    there = {(s, t) for s, t in keys if read - absent(s, t)}
    assert set(frame[["subject", "trial"]].itertuples(index=False, name=None)) == there
    shares = frame[[f"attention_{m}" for m in modalities]].to_numpy()
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
    probabilities = frame[[f"p_{c}" for c in LABELS]].to_numpy()
    assert np.isfinite(probabilities).all()
    gone = np.array(
        [[COLUMN[m] in absent(s, t) for m in modalities] for s, t in zip(frame["subject"], frame["trial"], strict=True)]
    )
    assert gone.any() or set(frame["subject"]) == {"3"}
    assert ((shares == 0) == gone).all()
    assert config.coalitions.reproduction < 1e-5
    seen = (
        pd.read_parquet(run.shapley_file)
        .groupby(["subject", "trial"])["coalition"]
        .agg(lambda c: set("+".join(c).split("+")))
    )
    for (subject, trial), names in seen.items():
        assert not {COLUMN[m] for m in names if m} & absent(subject, int(trial))
    baselines = pd.read_parquet(run.baselines_file)
    assert (baselines.groupby("stage").size() == len(frame)).all()
    assert set(baselines["stage"]) == set(tables.BESIDE["fusion"])


def test_heterogeneous_subjects_are_trained_separately(table: Path, tmp_path: Path) -> None:
    joint = ("fusion.joint_epochs=1", "fusion.calibrate=true")
    study, left_out = train(table, "mixed", tmp_path, *joint)
    assert set(left_out) == {"s03-audio"}  # never recorded: the fusion is trained without it
    fusions = {s: study.run(f"s0{s}-fusion") for s in "123"}
    for run in fusions.values():
        check(run)
    assert fusions["1"].config().input.modalities == ("vision", "audio", "eeg")
    assert fusions["3"].config().input.modalities == ("vision", "eeg")
    channels = {s: study.run(f"s0{s}-eeg").config().input.channels for s in "123"}
    assert [len(channels[s]) for s in "123"] == [30, 11, 4]
    counts = {s: windows(run).groupby("trial").size() for s, run in fusions.items()}
    assert set(counts["1"]) == {1}
    assert set(counts["2"]) == {3}  # 5.2 s are 2.6 windows
    assert set(counts["3"]) == {1, 3}
    assert {"subject 2 trial 6"} == {
        f"subject {x['subject']} trial {x['trial']}" for r in fusions.values() for x in r.config().left_out
    }
    assert set(tables.scores(study, baselines=True)["stage"]) == {*STAGES, *tables.BASELINES} - {"fusion:transformer"}
    for subject, run in fusions.items():
        frame = windows(run)
        tested = frame.loc[frame["split"] == "test", "trial"]
        for trial in sorted(set(tested))[:2]:
            made = explain_trial(study, subject, str(trial), steps=1)
            assert made.receipts.reproduction < 1e-5
            assert json.dumps(made.summary())


def test_heterogeneous_subjects_are_trained_together(table: Path, tmp_path: Path) -> None:
    study, left_out = train(table, "across", tmp_path, "protocol.name=subject-kfold", "protocol.folds=3")
    run = study.run("all-fusion")
    check(run)
    assert study.run("all-eeg").config().input.channels == ("C3", "Cz", "C4")  # common to all subjects
    assert not left_out or set(left_out) == {"all-audio"}
