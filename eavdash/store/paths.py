"""The names of a study's files and of a run's: the only place where they are spelled.

In: a folder. Out: paths; nothing is read. What stands in the files is :mod:`eavdash.store.study`'s and
:mod:`eavdash.store.run`'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eavdash.store.names import slug


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study, ``checkpoints/<study>``."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def study_file(self) -> Path:
        return self.path / "study.json"

    @property
    def splits_file(self) -> Path:
        return self.path / "splits.csv"

    @property
    def trials_file(self) -> Path:
        """The further columns of the trial table, by subject and trial; a study's results can be split by them."""
        return self.path / "trials.csv"

    @property
    def probes_file(self) -> Path:
        """What the leakage probes found."""
        return self.path / "probes.json"

    @property
    def control_file(self) -> Path:
        """What a person wants of the study as a whole: whether it is paused, whether it is archived."""
        return self.path / "control.json"

    @property
    def probe_lock_file(self) -> Path:
        """Held by whoever probes the study."""
        return self.path / ".probe.lock"

    @property
    def probe_status_file(self) -> Path:
        """What the probing does, or why it failed."""
        return self.path / "probe-status.json"

    @property
    def probe_log_file(self) -> Path:
        """What a probing in the background printed."""
        return self.path / "probe.log"

    @property
    def probe_scratch(self) -> str:
        """How a probing's temporary folder beside the studies is named; eight more characters follow."""
        return f".probe-{self.name}-"

    @property
    def cache_dir(self) -> Path:
        return self.path.parent / ".cache"


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

    @property
    def config_file(self) -> Path:
        return self.path / "config.json"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def predictions_file(self) -> Path:
        return self.path / "predictions.parquet"

    @property
    def baselines_file(self) -> Path:
        return self.path / "baselines.parquet"

    @property
    def attention_file(self) -> Path:
        """How a fusion attended to each test window, by layer and head; where it has attention."""
        return self.path / "attention.parquet"

    @property
    def model_file(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def encoders_file(self) -> Path:
        """The encoders of a fusion that were fine-tuned together with it; only such a run has them."""
        return self.path / "encoders.safetensors"

    @property
    def resume_file(self) -> Path:
        return self.path / "resume.pt"

    @property
    def joint_resume_file(self) -> Path:
        """What resume.pt is to the epochs of encoders and fusion together."""
        return self.path / "resume-joint.pt"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def lock_file(self) -> Path:
        return self.path / ".lock"

    @property
    def explain_dir(self) -> Path:
        return self.path / "explain"

    def explain_files(self, trial: str, method: str) -> tuple[Path, Path]:
        """The arrays (.npz) and the receipts (.json) of one explanation."""
        stem = f"{slug(trial)}-{method}"
        return self.explain_dir / f"{stem}.npz", self.explain_dir / f"{stem}.json"
