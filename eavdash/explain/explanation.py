"""Explanation of one trial and its storage: arrays (.npz) and receipts (.json) in a folder of its run.

In: an :class:`Explanation`, or its name. Out: its files, or the explanation. Needs neither torch nor the recordings.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eavdash.config.choices import LOGMEL
from eavdash.errors import IntegrityError
from eavdash.explain.arrays import check_arrays, open_arrays, write_arrays
from eavdash.explain.check_record import verdict_of
from eavdash.explain.records import ExplainedWindow, ExplanationDocument, Receipts, StoredExplanation
from eavdash.store import RunDir
from eavdash.store.own_files import refuse_link
from eavdash.store.record import read_record, write_record

__all__ = [
    "NOTHING",
    "ExplainedWindow",
    "Explanation",
    "ExplanationDocument",
    "Receipts",
    "StoredExplanation",
    "explanation_name",
    "load_explanation",
    "mean_maps",
    "save_explanation",
    "stored_explanations",
]

NOTHING = 0.1  # logits: a window whose output differs less from that at the baseline leaves nothing to explain
STRONGEST = 20  # columns in a summary
_REMEDY = "delete the file and explain the trial again"
_ARRAYS = (
    *("attributions", "inputs", "masks", "window_probabilities", "trial_probabilities"),
    *("baseline_probabilities", "times", "frequencies"),
)
#: Single arrays: field of an :class:`Explanation` → name in the file; missing ones are None.
_SINGLE = {name: name for name in ("attention", "map", "maps", "crops")}
_SINGLE |= {"spectrum": "spectrum_eeg", "spectrum_frequencies": "spectrum_hertz"}


@dataclass(frozen=True)
class Explanation:
    """Explanation of one trial with W windows in order, M ``modalities`` and K ``classes``.

    Arrays by modality cover all windows, with zeros where a window lacks the modality:
    ``inputs`` vision (W, F, H, W, 3) uint8, audio (W, L, mel) as ``front_end`` gives it, eeg (W, C, T) volt;
    ``masks`` True where recorded; ``attributions`` in ``unit``, vision (W, F, H, W), audio (W, L, mel), eeg (W, C, T);
    those of methods that only show attention lack the modalities without any.
    A modality in ``columns`` has tables of features (W, L, column), and attributions of the same shape.
    ``times`` (W, L) are seconds from the trial's start of each frame, row or sample, NaN where masked.
    """

    study: str
    run: str
    stage: str  # whose prediction is explained
    method: str
    subject: str
    trial: str
    label: str
    predicted: str  # for the trial
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
    target: str = ""  # the class that is explained
    against: str = ""  # the class that it is contrasted with; empty: none
    baseline: str = "mean"  # explain/baselines.py
    unit: str = "logit"  # what is attributed
    baseline_probabilities: dict[str, np.ndarray] = field(default_factory=dict)  # stage → (W, K); not in older files
    times: dict[str, np.ndarray] = field(default_factory=dict)  # not in older files
    frequencies: dict[str, np.ndarray] = field(default_factory=dict)  # modality → (mel,) Hz; not in older files
    crops: np.ndarray | None = None  # (W, F, 4) left, top, right, bottom as parts of the frame; not in older files
    # EEG attributions by electrode and frequency, with the same sum per electrode; None in older files, of tables of
    # features and of methods without them (explain/spectrum.py, which also has their bands).
    spectrum: np.ndarray | None = None  # (W, channel, frequency) float32, in ``unit``
    spectrum_frequencies: np.ndarray | None = None  # (frequency,) Hz

    @property
    def stored(self) -> StoredExplanation:
        """The question that it answers, by which :func:`load_explanation` finds it again."""
        if not self.target:
            return StoredExplanation(self.method)
        return StoredExplanation(self.method, self.target, self.against, self.baseline)

    @property
    def nothing_to_explain(self) -> tuple[bool, ...]:
        """For each window, True if its output is less than :data:`NOTHING` away from that at the baseline."""
        if not self.receipts.completeness:  # of methods without a baseline
            return (False,) * len(self.windows)
        explained = [
            c.get("explained", abs(c.get("output", np.inf) - c.get("baseline", 0.0)))
            for c in self.receipts.completeness
        ]
        return tuple(value < NOTHING for value in explained)

    @property
    def lacks_places(self) -> bool:
        """True for older files, which do not say where in the video's frames the pictures are."""
        return "vision" in self.inputs.keys() - self.columns.keys() and self.crops is None

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
        """Sum of the attributions per modality, averaged over the windows, in ``unit``."""
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
        about = ("study", "run", "subject", "trial", "label", "predicted", "stage", "method")
        asked = ("target", "against", "baseline", "unit")
        return {
            **{name: getattr(self, name) for name in (*about, *asked)},
            "windows": len(self.windows),
            "probabilities": self._by_class(self.trial_probabilities),
            "baseline_probabilities": self._by_class(
                {s: np.nanmean(p, axis=0) for s, p in self.baseline_probabilities.items()}
            ),
            "attention": self.shares,
            "attention_by_head": self.head_shares,
            "attention_by_layer": self.layer_maps,
            "attribution": self.sums,
            **({"attribution_by_column": self.column_sums} if self.columns else {}),
            "completeness_gap": [c["gap"] for c in self.receipts.completeness],
            "completeness_relative_gap": [c["relative_gap"] for c in self.receipts.completeness],
            "nothing_to_explain": list(self.nothing_to_explain),
            "steps": self.receipts.steps,
            "reproduction": self.receipts.reproduction,
            "receipts": verdict_of(self.receipts.checks),
        }

    def _by_class(self, probabilities: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
        return {s: dict(zip(self.classes, p.round(4).tolist(), strict=True)) for s, p in probabilities.items()}


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
    arrays_file, receipts_file = run.explain_files(name, *explanation.stored)
    with IntegrityError.from_os(arrays_file.parent, expected="a folder of the run", remedy="remove the link"):
        arrays_file.parent.mkdir(parents=True, exist_ok=True)
        refuse_link(arrays_file.parent)
    arrays = {f"{kind}.{key}": value for kind in _ARRAYS for key, value in getattr(explanation, kind).items()}
    arrays |= {name: value for kind, name in _SINGLE.items() if (value := getattr(explanation, kind)) is not None}
    checksum = write_arrays(arrays_file, arrays)
    fields = {k: v for k, v in vars(explanation).items() if k not in (*_ARRAYS, *_SINGLE)}
    write_record(receipts_file, ExplanationDocument(**fields, sums=explanation.sums, arrays=checksum))


def stored_explanations(run: RunDir, name: str) -> list[StoredExplanation]:
    """Return what the stored explanations named ``name`` answer, for the run's current weights; no array is read.

    An explanation whose metadata cannot be read is left out: explaining the trial again replaces it.
    """
    found = []
    for arrays_file, receipts_file in run.explanations(name):
        with contextlib.suppress(IntegrityError):
            document = read_record(receipts_file, ExplanationDocument, _REMEDY)
            question = StoredExplanation(document.method, document.target, document.against, document.baseline)
            question = question if document.target else StoredExplanation(document.method)
            if run.explain_files(name, *question) == (arrays_file, receipts_file) and _applies(run, document):
                found.append(question)
    return found


def load_explanation(
    run: RunDir,
    trial: str,
    method: str = "integrated_gradients",
    target: str = "",
    against: str = "",
    baseline: str = "",
) -> Explanation | None:
    """Load the explanation named ``trial`` (see :func:`explanation_name`); None if there is none for this model.

    Without a target and a baseline it is that of an earlier version, of the predicted class.

    Raises:
        IntegrityError: its files are damaged.
    """
    arrays_file, receipts_file = run.explain_files(trial, method, target, against, baseline)
    if not arrays_file.exists() or not receipts_file.exists():
        return None
    document = read_record(receipts_file, ExplanationDocument, _REMEDY)
    if not _applies(run, document):
        return None
    check_arrays(arrays_file, document.arrays, receipts_file, _REMEDY)
    found: dict[str, Any] = {kind: {} for kind in _ARRAYS} | dict.fromkeys(_SINGLE)
    single = {name: kind for kind, name in _SINGLE.items()}
    with open_arrays(arrays_file, _REMEDY) as stored:
        for name in stored.files:
            kind, _, key = name.partition(".")
            if key:
                found[kind][key] = stored[name]
            else:
                found[single[name]] = stored[name]
    fields = {name: getattr(document, name) for name in Explanation.__dataclass_fields__ if name not in found}
    return Explanation(**{**fields, "target": document.target or document.receipts.target}, **found)


def _applies(run: RunDir, document: ExplanationDocument) -> bool:
    """Return False for an explanation of earlier weights."""
    return all(
        run.sibling(name).status().checksums.get("model.safetensors", checksum) == checksum
        for name, checksum in document.receipts.checksums.items()
    )
