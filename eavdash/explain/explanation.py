"""Explanation of one trial and its storage: arrays (.npz) and receipts (.json) in a folder of its run.

In: an :class:`Explanation`, or its name. Out: its files, or the explanation. Needs neither torch nor the recordings.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field

from eavdash.config.choices import LOGMEL
from eavdash.errors import IntegrityError
from eavdash.store import RunDir
from eavdash.store.atomic import sha256, write_atomic
from eavdash.store.own_files import refuse_link
from eavdash.store.record import FIRST, Part, Record, Texts, Whole, read_record, write_record
from eavdash.store.regular import open_regular

METHODS = ("integrated_gradients",)
STRONGEST = 20  # columns in a summary
_ATTENTION = ("attention", "map", "maps")
_ARRAYS = ("attributions", "inputs", "masks", "window_probabilities", "trial_probabilities")


class ExplainedWindow(Part):
    """One window: its number, its span in seconds, its predicted class and the modalities that it has."""

    window: Whole
    start: float
    stop: float
    predicted: str
    modalities: Texts


class Receipts(Part):
    """Facts about the computation of an explanation that a reader can check."""

    steps: Whole
    target: str  # the class whose logit is attributed
    output: str = "logit"
    baselines: dict[str, str] = Field(default_factory=dict)  # modality → input from which attributions are measured
    #: Modalities scaled by the statistics of the training people, as the run has none of this person.
    scaled_as_others: Texts = ()
    completeness: list[dict[str, float]] = Field(default_factory=list)  # per window
    reproduction: float | None = None  # largest difference to the stored probabilities; None: none are stored
    checksums: dict[str, str]  # run → checksum of its model


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
    receipts: Receipts
    arrays: str


@dataclass(frozen=True)
class Explanation:
    """Explanation of one trial with W windows in order, M ``modalities`` and K ``classes``.

    Arrays by modality cover all windows, with zeros where a window lacks the modality:
    ``inputs`` vision (W, F, H, W, 3) uint8, audio (W, L, mel) as ``front_end`` gives it, eeg (W, C, T) volt;
    ``masks`` True where recorded; ``attributions`` in logits, vision (W, F, H, W), audio (W, L, mel), eeg (W, C, T).
    A modality in ``columns`` has tables of features (W, L, column), and attributions of the same shape.
    """

    study: str
    run: str
    stage: str  # whose prediction is explained
    method: str
    subject: str
    trial: str
    label: str
    predicted: str  # for the trial; also the class whose logit is attributed
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    windows: tuple[ExplainedWindow, ...]
    window_probabilities: dict[str, np.ndarray]  # stage → (W, K), NaN where the stage has no recording
    trial_probabilities: dict[str, np.ndarray]  # stage → (K,)
    attributions: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    # Attention is over all modalities of the model, 0 where one is absent; None for a fusion without any.
    attention: np.ndarray | None  # (W, heads, M), the class token's, which sums to 1 over modalities
    map: np.ndarray | None  # (W, M, M), of the row modality to the column modality; rows of present ones sum to 1
    channels: tuple[str, ...]  # of the EEG
    rate: float  # Hz, of the EEG windows; 0 without EEG
    receipts: Receipts
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by modality, of tables of features
    maps: np.ndarray | None = None  # (W, layers, heads, M, M), whose mean is ``map``; None in older files
    front_end: str = LOGMEL  # what the audio encoder hears (data/audio/front_ends.py)

    @property
    def shares(self) -> dict[str, float]:
        """Attention per modality, averaged over heads and windows; empty if the fusion has no attention."""
        if self.attention is None:
            return {}
        return dict(zip(self.modalities, self.attention.mean(axis=(0, 1)).tolist(), strict=True))

    @property
    def head_shares(self) -> dict[str, dict[str, float]]:
        """Attention per head (``head 1`` ...) and modality, averaged over the windows; empty if there is none."""
        if self.attention is None:
            return {}
        means = self.attention.mean(axis=0).tolist()  # (heads, M)
        return {f"head {h}": dict(zip(self.modalities, m, strict=True)) for h, m in enumerate(means, start=1)}

    @property
    def layer_maps(self) -> dict[str, dict[str, dict[str, float]]]:
        """Attention between modalities per layer and head (``layer 1 head 1`` ...), averaged over the row's windows."""
        if self.maps is None:
            return {}
        return {
            f"layer {layer} head {head}": {
                name: dict(zip(self.modalities, row.tolist(), strict=True))
                for name, row in zip(self.modalities, table, strict=True)
            }
            for layer, heads in enumerate(mean_maps(self.maps), start=1)
            for head, table in enumerate(heads, start=1)
        }

    @property
    def sums(self) -> dict[str, float]:
        """Sum of the attributions per modality, averaged over the windows, in logits."""
        return {m: float(a.astype(np.float64).sum() / len(self.windows)) for m, a in self.attributions.items()}

    @property
    def column_sums(self) -> dict[str, float]:
        """Sums of the attributions of the :data:`STRONGEST` columns of tables of features, as :attr:`sums`."""
        sums = {
            f"{modality} {name}": float(value / len(self.windows))
            for modality, names in self.columns.items()
            for name, value in zip(
                names, self.attributions[modality].sum(axis=(0, 1), dtype=np.float64).tolist(), strict=True
            )
        }
        return {name: sums[name] for name in sorted(sums, key=lambda n: -abs(sums[n]))[:STRONGEST]}

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the explanation as a JSON-ready dictionary."""
        completeness = self.receipts.completeness
        names = ("study", "run", "subject", "trial", "label", "predicted", "stage", "method")
        return {
            **{name: getattr(self, name) for name in names},
            "windows": len(self.windows),
            "probabilities": {
                s: dict(zip(self.classes, p.round(4).tolist(), strict=True))
                for s, p in self.trial_probabilities.items()
            },
            "attention": self.shares,
            "attention_by_head": self.head_shares,
            "attention_by_layer": self.layer_maps,
            "attribution": self.sums,
            **({"attribution_by_column": self.column_sums} if self.columns else {}),
            "completeness_gap": [c["gap"] for c in completeness],
            "completeness_relative_gap": [c["relative_gap"] for c in completeness],
            "reproduction": self.receipts.reproduction,
        }


def mean_maps(maps: np.ndarray) -> np.ndarray:
    """Average over the windows that have the row's modality: (layer, head, modality, modality) float64.

    Rows of a modality that no window has are 0.
    """
    rows = (maps.sum(axis=-1, dtype=np.float64) > 0.5)[..., None]  # present rows sum to 1, absent ones to 0
    return np.asarray(maps.sum(axis=0, dtype=np.float64) / np.maximum(rows.sum(axis=0), 1))


def explanation_name(run: RunDir, subject: str, trial: str) -> str:
    """Return the name of a trial's explanation: the trial, prefixed by the subject if the run tests several."""
    return trial if run.config().subject else f"{subject}/{trial}"


def save_explanation(run: RunDir, explanation: Explanation) -> None:
    """Write the arrays, then the receipts, which include the arrays' checksum."""
    name = explanation_name(run, explanation.subject, explanation.trial)
    arrays_file, receipts_file = run.explain_files(name, explanation.method)
    with IntegrityError.from_os(arrays_file.parent, expected="a folder of the run", remedy="remove the link"):
        arrays_file.parent.mkdir(parents=True, exist_ok=True)
        refuse_link(arrays_file.parent)
    arrays = {f"{kind}.{key}": value for kind in _ARRAYS for key, value in getattr(explanation, kind).items()}
    arrays |= {kind: value for kind in _ATTENTION if (value := getattr(explanation, kind)) is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(arrays_file, lambda file: file.write(buffer.getbuffer()))
    fields = {k: v for k, v in vars(explanation).items() if k not in (*_ARRAYS, *_ATTENTION)}
    write_record(receipts_file, ExplanationDocument(**fields, arrays=sha256(arrays_file)))


def load_explanation(run: RunDir, trial: str, method: str = METHODS[0]) -> Explanation | None:
    """Load the explanation named ``trial`` (see :func:`explanation_name`); None if there is none for this model.

    Raises:
        IntegrityError: its files are damaged.
    """
    arrays_file, receipts_file = run.explain_files(trial, method)
    if not arrays_file.exists() or not receipts_file.exists():
        return None
    remedy = "delete the file and explain the trial again"
    document = read_record(receipts_file, ExplanationDocument, remedy)
    # An explanation of earlier weights does not apply to this model.
    for name, checksum in document.receipts.checksums.items():
        if run.sibling(name).status().checksums.get("model.safetensors", checksum) != checksum:
            return None
    with IntegrityError.from_os(arrays_file, expected="a file that can be read", remedy=remedy):
        checksum = sha256(arrays_file)
    if document.arrays != checksum:
        expected = f"the checksum in {receipts_file.name}"
        raise IntegrityError.at(arrays_file, expected=expected, found="a different checksum", remedy=remedy)
    found: dict[str, Any] = {kind: {} for kind in _ARRAYS} | dict.fromkeys(_ATTENTION)
    try:
        with open_regular(arrays_file) as file, np.load(file, allow_pickle=False) as stored:
            for name in stored.files:
                kind, _, key = name.partition(".")
                if key:
                    found[kind][key] = stored[name]
                else:
                    found[kind] = stored[name]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise IntegrityError.at(arrays_file, expected="arrays", found=str(error), remedy=remedy) from error
    fields = {name: getattr(document, name) for name in Explanation.__dataclass_fields__ if name not in found}
    return Explanation(**fields, **found)
