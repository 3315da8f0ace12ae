"""Records of the metadata of an explanation: what was asked, and receipts of the computation (a .json file)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import ConfigDict, Field

from eavdash.config.choices import LOGMEL
from eavdash.explain.check_record import Checks
from eavdash.store.record import FIRST, Part, Record, Texts, Whole


class StoredExplanation(NamedTuple):
    """Question that a stored explanation answers; only the method for files of earlier versions."""

    method: str
    target: str = ""
    against: str = ""
    baseline: str = ""


class ExplainedWindow(Part):
    """One window: its number, its span in seconds, its predicted class and the modalities that it has."""

    window: Whole
    start: float
    stop: float
    predicted: str
    modalities: Texts


class Receipts(Part):
    """Facts about the computation of an explanation that a reader can check."""

    steps: Whole  # points of the quadrature on the path with most
    target: str  # the class whose logit is attributed
    output: str = "logit"
    baselines: dict[str, str] = Field(default_factory=dict)  # modality → input from which attributions are measured
    #: Modalities scaled by the statistics of the training people, as the run has none of this person.
    scaled_as_others: Texts = ()
    #: Per window: output, baseline, total, gap, relative_gap, explained (|output - baseline|) and steps; earlier files
    #: lack the last two.
    completeness: list[dict[str, float]] = Field(default_factory=list)
    training_windows: Texts = ()  # subject/trial/window of those that serve as baselines
    reproduction: float | None = None  # largest difference to the stored probabilities; None: none are stored
    checksums: dict[str, str]  # run → checksum of its model
    checks: Checks = ()  # receipts/registry.py; empty in earlier files
    seconds: float = 0.0  # that the computation took; 0: unknown


class ExplanationDocument(Record):
    """The content of an explanation's .json: everything but its arrays, whose checksum it has."""

    model_config = ConfigDict(title="an explanation")

    schema_version: Whole = FIRST
    study: str
    run: str
    stage: str
    method: str
    subject: str
    trial: str
    label: str
    predicted: str
    classes: Texts
    modalities: Texts
    windows: Annotated[tuple[ExplainedWindow, ...], Field(strict=False)]
    channels: Texts
    rate: float
    front_end: str = LOGMEL  # earlier files lack it
    columns: dict[str, Texts] = Field(default_factory=dict)  # modality → those of its table of features
    target: str = ""  # earlier files lack it: the class in the receipts
    against: str = ""
    baseline: str = "mean"
    unit: str = "logit"
    sums: dict[str, float] | None = None  # modality → sum of its attributions; earlier files lack it
    receipts: Receipts
    arrays: str
