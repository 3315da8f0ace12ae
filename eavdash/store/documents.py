"""The records of studies and runs: ``study.json``, ``control.json`` and a run's ``config.json``.

The settings inside (``config``) stay JSON here; :func:`eavdash.config.convert.recorded_config` makes a StudyConfig of
them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from eavdash.errors import IntegrityError
from eavdash.store.record import UNWRITTEN, FromList, Numbers, Part, Record, Texts, Whole

#: Default of a list that is written only if it is not empty.
EMPTY: Any = Field(default=(), exclude_if=lambda value: not value)


class RecordedSelection(Part):
    """The subjects, folds and seeds of a study, in the order in which they were added."""

    subjects: Texts
    folds: Numbers
    seeds: Numbers


class RecordedDataset(Part):
    """The dataset of a study: its path, kind, number of trials, and a hash of each usable subject's recordings.

    ``folders``: those that the runs of a study planned by the app may read; None: whatever this user may.
    """

    path: str
    kind: str = ""
    simulated: bool = False
    trials: Whole = 0
    fingerprint: dict[str, str] = Field(default_factory=dict)
    folders: Texts | None = UNWRITTEN


class Naming(Part):
    """The fold and the seed without a suffix in names of runs; None: all have one."""

    fold: Whole | None = None
    seed: Whole | None = None


class LeftOutRecording(Part):
    """A recording that cannot be used, because of which its trial is left out.

    ``kind``: one of ``eavdash.data.unusable.KINDS``, or of the findings that the study leaves out.
    """

    subject: str
    trial: str
    modality: str
    kind: str
    reason: str
    kept: bool = False  # True: the trial is used without this recording


class LeftOut(Part):
    """Trials that a study leaves out: recordings of used subjects, and whole subjects with the reason.

    ``trials``: the number of trials, before any was left out, of each subject whose recordings were checked.
    """

    trials: dict[str, Whole] = Field(default_factory=dict)
    recordings: Annotated[tuple[LeftOutRecording, ...], FromList] = ()
    subjects: dict[str, str] = Field(default_factory=dict)
    leave_out: Texts = ()  # kinds of findings whose trials are left out too
    keep: Texts = ()  # kinds whose trials are used without the recording


class StudyDocument(Record):
    """The content of study.json."""

    model_config = ConfigDict(title="a study's document")

    name: str
    created: str = ""  # ISO 8601
    config: dict[str, Any]
    selection: RecordedSelection
    dataset: RecordedDataset
    classes: Texts
    naming: Naming
    left_out: LeftOut | None = UNWRITTEN  # None: planned by a version that did not check the recordings
    versions: dict[str, str] = Field(default_factory=dict)
    git_commit: str = ""

    @property
    def source(self) -> str:
        """Return what messages call the file."""
        return f"study.json of {self.name}"


class Control(Record):
    """The content of control.json: what a user may change of a whole study."""

    model_config = ConfigDict(title="a study's switches")

    paused: bool = False  # none of its runs may start
    archived: bool = False  # it is excluded from lists and from the queue


class RunInput(Part):
    """Input of a run: the windows of an encoder, or the features that a fusion joins."""

    channels: Texts = EMPTY  # names of the EEG channels
    columns: Texts | None = UNWRITTEN  # names of the columns of a table of features
    samples: Whole | None = UNWRITTEN  # of EEG per window
    frames: Whole | None = UNWRITTEN  # of video or audio per window
    mels: Whole | None = UNWRITTEN
    size: Whole | None = UNWRITTEN  # pixels, of the face
    rate: int | float | None = UNWRITTEN  # Hz
    subject_scaling: dict[str, Any] | None = UNWRITTEN  # statistics of each subject
    key: str | None = UNWRITTEN  # of the windows in the cache
    windows: dict[str, Whole] | None = UNWRITTEN  # by split
    modalities: Texts = EMPTY
    dims: dict[str, Whole] | None = UNWRITTEN  # size of a feature, by modality
    reliability: dict[str, Any] | None = UNWRITTEN


class ModelSpec(Part):  # type: ignore[no-redef]  # the plugin takes the key for its own **kwargs
    """An architecture, for :func:`eavdash.models.build.build`."""

    name: str
    kwargs: dict[str, Any]


class RunImport(Part):
    """Origin of the weights of an imported run."""

    file: str
    sha256: str
    left_out: Texts = ()
    notes: Texts = ()
    labels: Texts = ()


class AdditivePart(Part):
    """The sum of functions of one modality each that is nearest to a fusion on its test windows (Hessel & Lee 2020).

    ``windows``: those that have every modality; ``mixtures``: how many of its mixtures with others each was in.
    Accuracies are per window. ``unchanged``: windows that the sum classifies like the fusion; ``variance``: the part of
    the fusion's variance over these mixtures that the sum explains.
    """

    windows: Whole
    mixtures: Whole
    accuracy: float
    additive_accuracy: float
    unchanged: float
    variance: float


class CoalitionReport(Part):
    """The making of shapley.parquet.

    ``absent``: what stands for a modality outside a coalition; ``reproduction``: the largest difference of the
    probabilities of all present modalities to those in predictions.parquet.
    """

    absent: str
    reproduction: float
    additive: AdditivePart | None = UNWRITTEN  # None: fewer than two modalities, or than two windows that have all


class EpochRow(Part):
    """One line of metrics.jsonl: what training measured after an epoch; None: there was nothing to measure."""

    epoch: Annotated[Whole, Field(ge=0)]
    loss: float | None = None
    accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    seconds: float | None = None


class RunConfig(Record):
    """The content of a run's config.json: what it is asked to do, and then what it was trained with."""

    model_config = ConfigDict(title="a run's configuration")

    study: str
    run: str
    unit: str
    stage: str
    fold: Whole
    seed: Whole
    subject: str = ""  # empty: all subjects
    classes: Texts
    parents: dict[str, str] = Field(default_factory=dict)  # modality → run that must be done before
    config: dict[str, Any]
    pooled: bool | None = UNWRITTEN  # True: it is trained on all subjects, and theirs start from its weights
    model: ModelSpec | None = UNWRITTEN
    input: RunInput = Field(default=RunInput(), exclude_if=lambda value: value == RunInput())
    left_out: list[dict[str, str]] | None = (
        UNWRITTEN  # trials that it could not use, with the reason; a kind: found only by the run
    )
    computed: dict[str, Any] | None = UNWRITTEN  # device and precision
    epoch_chosen_by: str | None = UNWRITTEN
    linear: dict[str, Any] | None = UNWRITTEN  # penalty of a linear fit, and what chose it
    encoders: dict[str, ModelSpec] | None = UNWRITTEN  # that were fine-tuned together with the fusion
    joint: dict[str, Any] | None = UNWRITTEN
    calibration: dict[str, Any] | None = UNWRITTEN
    baselines: dict[str, Any] | None = UNWRITTEN
    coalitions: CoalitionReport | None = UNWRITTEN  # None: without shapley.parquet
    imported: RunImport | None = UNWRITTEN

    @property
    def source(self) -> str:
        """Return what messages call the file."""
        return f"config.json of {self.study}/{self.run}"

    @property
    def architecture(self) -> dict[str, Any]:
        """Return the trained model's name and keyword arguments.

        Raises:
            IntegrityError: it has none, as it was not trained.
        """
        if self.model is None:
            remedy = f"train the run again: eavdash retry {self.study} --run {self.run}"
            raise IntegrityError.at(self.source, expected="the trained model", found="none", remedy=remedy)
        return self.model.document()
