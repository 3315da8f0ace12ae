"""Paths of the files of a study, a run and a background task; no other module spells these names.

Nothing is read here: the content of the files is defined by :mod:`eavdash.store.study`, :mod:`eavdash.store.run` and
:mod:`eavdash.store.task`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eavdash.store.names import expanded, slug
from eavdash.store.private import cache_folder

#: Folder in the cache with the newest health report of each dataset.
HEALTH = "health"
#: Characters of the name of an explanation's files, without the ending; file systems allow 255 bytes.
_LONGEST_STEM = 225


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study, ``checkpoints/<study>``."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def study_file(self) -> Path:
        """Configuration, versions, git commit, dataset fingerprint, and the trials that were left out; fixed."""
        return self.path / "study.json"

    @property
    def splits_file(self) -> Path:
        """Subject, trial, group, fold and split of every trial."""
        return self.path / "splits.csv"

    @property
    def trials_file(self) -> Path:
        """Further columns of the trial table, by subject and trial; results can be split by them."""
        return self.path / "trials.csv"

    @property
    def table_file(self) -> Path:
        """The rows of the trial table that the study was planned with; studies of earlier versions lack it."""
        return self.path / "trials.parquet"

    @property
    def probes_file(self) -> Path:
        """Results of the leakage probes."""
        return self.path / "probes.json"

    def maps_files(self, stage: str, method: str, baseline: str) -> tuple[Path, Path]:
        """Return the paths of the mean maps of a stage's decisions: arrays (.npz) and metadata (.json)."""
        stem = f"maps-{stage}-{method}-{baseline}"
        return self.path / f"{stem}.npz", self.path / f"{stem}.json"

    @property
    def representations_file(self) -> Path:
        """Separation of the test trials in the representations of all finished runs, and in what all runs share."""
        return self.path / "representations.json"

    @property
    def expressiveness_file(self) -> Path:
        """Expressiveness of each modality in the test trials: face motion, loudness, pitch, band power."""
        return self.path / "expressiveness.parquet"

    @property
    def decisions_file(self) -> Path:
        """Places of the test trials by the decisions of all runs, as a run's representations."""
        return self.path / "representations.parquet"

    @property
    def report_file(self) -> Path:
        """The newest report of the study (eavdash report)."""
        return self.path / "report.html"

    @property
    def verification_file(self) -> Path:
        """Outcome of the newest comparison of the files with their checksums."""
        return self.path / "verification.json"

    @property
    def control_file(self) -> Path:
        """Settings of the whole study that a user may change: paused, archived."""
        return self.path / "control.json"

    @property
    def probe_lock_file(self) -> Path:
        """Lock of the process that runs the study's leakage probes (eavdash probe)."""
        return self.path / ".probe.lock"

    @property
    def probe_scratch(self) -> str:
        """Prefix of the probes' temporary folder beside the studies; eight more characters follow."""
        return f".probe-{self.name}-"

    @property
    def cache_dir(self) -> Path:
        """Folder of what can be computed again from the recordings; private, unlike the study."""
        return cache_folder(self.path.parent)


@dataclass(frozen=True)
class RunPaths:
    """The files of one run, ``checkpoints/<study>/<run>``."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def study(self) -> StudyPaths:
        """The study that the run belongs to."""
        return StudyPaths(self.path.parent)

    @cached_property
    def config_file(self) -> Path:
        """Everything that is needed to rebuild the model; fixed."""
        return self.path / "config.json"

    @cached_property
    def status_file(self) -> Path:
        """State, attempt, heartbeat, epoch, reason, checksums and sizes, and the history of the attempts."""
        return self.path / "status.json"

    @property
    def metrics_file(self) -> Path:
        """A line per epoch: loss and accuracy on training and validation."""
        return self.path / "metrics.jsonl"

    @property
    def predictions_file(self) -> Path:
        """A row per window, and per frame where the stage scores frames."""
        return self.path / "predictions.parquet"

    @property
    def baselines_file(self) -> Path:
        """Predictions of simple methods on the same windows, one `stage` each."""
        return self.path / "baselines.parquet"

    @property
    def scores_file(self) -> Path:
        """The run's test and validation trials, a row each, made of its predictions and baselines."""
        return self.path / "scores.parquet"

    @property
    def attention_file(self) -> Path:
        """Attention weights of a fusion for each test window, by layer and head; only of a fusion with attention."""
        return self.path / "attention.parquet"

    @property
    def shapley_file(self) -> Path:
        """Log-probabilities of each test window from every coalition of its modalities; only of a fusion."""
        return self.path / "shapley.parquet"

    @property
    def model_file(self) -> Path:
        """Weights of the chosen epoch."""
        return self.path / "model.safetensors"

    @property
    def encoders_file(self) -> Path:
        """Encoders that were fine-tuned together with a fusion; only such a run has this file."""
        return self.path / "encoders.safetensors"

    @property
    def people_file(self) -> Path:
        """Statistics of each person for an encoder that scales its own features; only of such a run."""
        return self.path / "person_statistics.safetensors"

    @property
    def resume_file(self) -> Path:
        """State to resume from; deleted when the run is done."""
        return self.path / "resume.pt"

    @property
    def joint_resume_file(self) -> Path:
        """Counterpart of resume.pt for the joint epochs of encoders and fusion."""
        return self.path / "resume-joint.pt"

    @property
    def log_file(self) -> Path:
        """Output of the worker."""
        return self.path / "log.txt"

    @property
    def lock_file(self) -> Path:
        """Held by the process that computes the run."""
        return self.path / ".lock"

    @property
    def receipts_file(self) -> Path:
        """Checks of the run's explanations that are made once for all of them."""
        return self.path / "receipts.json"

    @property
    def representations_file(self) -> Path:
        """Representations of the run's test trials, and their places in two dimensions."""
        return self.path / "representations.parquet"

    @property
    def explain_dir(self) -> Path:
        """Folder of the explanations."""
        return self.path / "explain"

    def explain_files(
        self, trial: str, method: str, target: str = "", against: str = "", baseline: str = ""
    ) -> tuple[Path, Path]:
        """Return the paths of one explanation's arrays (.npz) and metadata (.json).

        Those of earlier versions have neither a target, which is a class or two of them, nor a baseline.
        """
        classes = "~".join(slug(name) for name in (target, against) if name)
        stem = "-".join(part for part in (slug(trial), method, classes, baseline) if part)
        if len(stem) > _LONGEST_STEM:
            stem = f"{slug(trial)}-{slug(stem)[-6:]}"
        return self.explain_dir / f"{stem}.npz", self.explain_dir / f"{stem}.json"

    def explanations(self, trial: str) -> list[tuple[Path, Path]]:
        """Return the paths, as :meth:`explain_files`, of all explanations that may be of a trial, in order."""
        found = sorted(self.explain_dir.glob(f"{slug(trial)}-*.json"))
        return [(path.with_suffix(".npz"), path) for path in found if path.with_suffix(".npz").exists()]


#: Folder of the background tasks in a checkpoints folder.
TASKS = ".tasks"


@dataclass(frozen=True)
class TaskPaths:
    """The files of one background task, ``checkpoints/.tasks/<id>``; all of them are private."""

    root: Path  # the checkpoints folder
    id: str

    @property
    def path(self) -> Path:
        return self.root / TASKS / self.id

    @property
    def name(self) -> str:
        return self.id

    @property
    def status_file(self) -> Path:
        """Command, state, progress and reason."""
        return self.path / "status.json"

    @property
    def log_file(self) -> Path:
        """Output of the task's process."""
        return self.path / "log.txt"

    @property
    def lock_file(self) -> Path:
        """Held by the process that computes the task."""
        return self.path / ".lock"


def health_report_file(cache: Path, dataset: str | Path) -> Path:
    """Return the file in the cache folder that keeps the health report of a dataset."""
    path = os.path.abspath(expanded(dataset))  # noqa: PTH100
    return cache / HEALTH / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:24]}.json"
