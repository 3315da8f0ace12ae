"""A small study on disk with simulated windows, for tests of training without readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from documents import run_config, study_document

from eavdash.config import schema as cfg
from eavdash.config.choices import COLUMN, MODALITIES
from eavdash.config.convert import to_dict
from eavdash.config.schema import StudyConfig, TrainConfig
from eavdash.data.windows import WindowSet
from eavdash.store import RunDir, StudyDir
from eavdash.store.record import write_record
from eavdash.training import run_context

CLASSES = ("joy", "calm", "anger")
GROUPS, TRIALS, WINDOWS = 5, 2, 2  # groups per class, trials per group, windows per trial


def tiny(epochs: int = 3, kind: str = "attention", **train: object) -> StudyConfig:
    """Return the configuration of models with a few thousand parameters."""
    one = TrainConfig(epochs=epochs, batch=8, learning_rate=3e-3, **train)  # type: ignore[arg-type]
    return StudyConfig(
        vision=cfg.VisionConfig(size=16, width=16, depth=1, heads=2),
        audio=cfg.AudioConfig(mels=16, width=16, depth=1, heads=2),
        eeg=cfg.EegConfig(rate=50.0, high=20.0, filters=4, width=16, depth=1, heads=2, segments=4),
        fusion=cfg.FusionConfig(kind=kind, width=16, heads=2),
        train=cfg.TrainConfigs(one, one, one, one),
    )


def simulated(trials: pd.DataFrame, modality: str, noise: Sequence[str] = (), first: int = 0) -> WindowSet:
    """Simulate windows whose class is easy to recognise, except in the modalities ``noise``."""
    rows, values = [], []
    for trial in trials.to_dict("records"):
        for window in range(WINDOWS):
            seed = [first, hash_of(trial["subject"] + trial["trial"]), window, hash_of(modality)]
            random = np.random.default_rng(seed)
            kind = CLASSES.index(trial["truth"]) if modality not in noise else int(random.integers(3))
            values.append(_window(modality, kind, random))
            keys = {k: trial[k] for k in ("subject", "trial", "group", "label")}
            rows.append({**keys, "window": window, "start": 5.0 * window, "stop": 5.0 * window + 5})
    stacked = np.stack(values)
    long = {"vision": stacked.shape[1], "audio": stacked.shape[1], "eeg": stacked.shape[-1]}[modality]
    meta = {"key": f"{modality}-{first}-{'-'.join(noise)}-{len(trials)}", "channels": ["Fz", "Cz", "Pz"], "rate": 50.0}
    return WindowSet(modality, pd.DataFrame(rows), stacked, np.ones((len(stacked), long), dtype=bool), meta)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode(), "big") % 2**32


def _window(modality: str, kind: int, random: np.random.Generator) -> np.ndarray:
    if modality == "vision":
        frames = random.integers(0, 60, (3, 16, 16, 3))
        frames[:, 5 * kind : 5 * kind + 5] += 150
        return frames.astype(np.uint8)
    if modality == "audio":
        mel = random.normal(-8, 1, (40, 16))
        mel[:, 5 * kind : 5 * kind + 5] += 4
        return mel.astype(np.float32)
    time = np.arange(100) / 50
    eeg = random.normal(0, 1e-5, (3, 100))
    eeg[kind] += 4e-5 * np.sin(2 * np.pi * (10 * time + random.random()))
    return eeg.astype(np.float32)


class Sandbox:
    """Creates studies in a folder; ``trials`` and ``splits`` may be changed before."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.noise, self.first = folder, (), 0
        self.reads = 0
        rows = []
        for kind in CLASSES:
            for group in range(GROUPS):
                for trial in range(TRIALS):
                    name = f"{kind}{group}-{trial}"
                    row = {"subject": "1", "trial": name, "label": kind, "group": f"{kind}{group}", "truth": kind}
                    rows.append({**row, "start": "", "stop": "", **{c: f"{c}.bin" for c in COLUMN.values()}})
        self.trials = pd.DataFrame(rows)
        #: group 0 is tested, group 1 validates
        part = {"0": "test", "1": "validation"}
        self.splits = self.trials[["subject", "trial", "group"]].assign(
            fold=0, split=[part.get(g[-1], "train") for g in self.trials["group"]]
        )
        patch.setattr(run_context, "load_windows", self._load)

    def _load(
        self,
        trials: pd.DataFrame,
        modality: str,
        config: StudyConfig,
        cache: Path,
        report: Callable[[int, int], object] | None = None,
    ) -> WindowSet:
        self.reads += 1
        if report is not None:
            report(len(trials), len(trials))
        return simulated(trials, modality, self.noise, self.first)

    def study(self, config: StudyConfig, name: str = "study", seed: int = 0) -> Callable[[str], RunDir]:
        """Create a study on disk; return a function that creates the run of a stage."""
        data = self.folder / f"data-{name}"
        data.mkdir(exist_ok=True)
        for column in COLUMN.values():
            (data / f"{column}.bin").touch()
        self.trials.to_csv(data / "trials.csv", index=False)
        study = StudyDir(self.folder / "checkpoints" / name)
        study.path.mkdir(parents=True, exist_ok=True)
        write_record(study.study_file, study_document(name, dataset={"path": str(data)}, classes=list(CLASSES)))
        self.splits.to_csv(study.splits_file, index=False)

        def run(stage: str) -> RunDir:
            made = study.run(f"s01-{stage}")
            parents = {m: f"s01-{m}" for m in MODALITIES} if stage == "fusion" else {}
            fields = {"study": name, "seed": seed, "classes": CLASSES, "parents": parents}
            made.create(run_config(made.name, **fields, config=to_dict(config)))
            return made

        return run


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    return Sandbox(tmp_path, monkeypatch)


@pytest.fixture
def tiny_config() -> Callable[..., StudyConfig]:
    return tiny


@pytest.fixture
def content() -> Callable[[RunDir], dict[str, object]]:
    """Return a function that reads the results of a run, for comparisons."""

    def read(run: RunDir) -> dict[str, object]:
        metrics = [{k: v for k, v in row.items() if k != "seconds"} for row in run.metrics()]
        return {
            "weights": run.model_file.read_bytes(),
            "predictions": pd.read_parquet(run.predictions_file).to_csv(),
            "metrics": metrics,
            "best": run.status().best_epoch,
        }

    return read
