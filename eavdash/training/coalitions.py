"""Decisions of a fusion from every coalition of the modalities of a test window: shapley.parquet.

In: a trained fusion and the cached features of its encoders. Out: per window, class and coalition the log-probability
of the class, from which :mod:`eavdash.results.shapley` derives Shapley values and interactions; and how far the fusion
is a sum of functions of single modalities (:mod:`eavdash.training.additive`).

A modality that is outside a coalition is absent as the fusion knows absence from its training: masked, so that the
attention shares of the others grow, or (``concat``) zero after scaling, which is the training mean, with its flag off.
Fusions that were never trained with absent modalities, ``paper`` and those of ``concat`` without modality dropout,
get the mean of the training windows' features instead. A modality that was not recorded is never in a coalition, and
is treated as in the run's own predictions.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.errors import IntegrityError
from eavdash.models.absence import needs_means
from eavdash.models.fusion import Fusion
from eavdash.results.coalition_table import CoalitionRows
from eavdash.store.atomic import write_atomic
from eavdash.store.documents import CoalitionReport
from eavdash.training import evaluate
from eavdash.training.additive import additive_part
from eavdash.training.baselines import majority
from eavdash.training.fusion_features import FusionFeatures
from eavdash.training.loading import ModelOutput, Source
from eavdash.training.precision import resolve_precision
from eavdash.training.run_context import RunContext, rows_of

log = logging.getLogger(__name__)
BATCH = 256  # windows at once, without gradients, where training has not found how many fit
MASKED, MEANS = "masked", "training means"
KEYS = ("subject", "trial", "window")
#: Largest difference from the stored probabilities that rounding explains.
ROUNDING = 1e-4
#: The same in bf16, or where the run was computed on another device.
COARSE_ROUNDING = 0.02


def write_coalitions(
    context: RunContext,
    fusion: Fusion,
    joined: FusionFeatures,
    predictions: pd.DataFrame,
    tolerance: float | None = None,
    batch: int = BATCH,
) -> None:
    """Write shapley.parquet of a trained fusion and describe it in config.json.

    Args:
        joined: the features of all windows on which ``fusion`` was trained and tested.
        predictions: the run's, whose test windows the coalitions of all present modalities reproduce.
        tolerance: difference of probabilities above which nothing is written; None: it is logged.
        batch: windows at once; fewer if they do not fit into memory.

    Raises:
        TrainingError: a logit is not a finite number.
        IntegrityError: the difference is above ``tolerance``.
    """
    mixing = Mixing(fusion, joined, context, batch)
    table = coalition_table(mixing, context.classes)
    tested = predictions[(predictions["split"] == "test") & (predictions["frame"] == -1)]
    difference = reproduction(table, tested, context.classes)
    if tolerance is not None and difference > tolerance:
        raise IntegrityError.at(
            context.run.path,
            expected="the probabilities of its predictions from its weights and recordings",
            found="other windows" if difference == float("inf") else f"a difference of {difference:.2g}",
            remedy="restore the recordings that it was trained on, or train the run again",
        )
    fine = resolve_precision(context.settings.precision, context.device) == "float32"
    if difference > (ROUNDING if fine else COARSE_ROUNDING):
        log.warning("%s: shapley.parquet differs from the predictions by %.2g", context.run.name, difference)
    write_atomic(context.run.shapley_file, lambda file: table.to_parquet(file, index=False, compression="zstd"))
    found = additive_part(mixing, context.classes, context.seed("additive"))
    context.describe(
        coalitions=CoalitionReport(absent=MEANS if mixing.means else MASKED, reproduction=difference, additive=found)
    )


class Mixing(Source):
    """Source of fusion features whose modalities come from windows of their own, or are absent.

    :meth:`probabilities` takes ``at`` (row, modality): the window that supplies each modality, -1 for none.
    """

    def __init__(self, fusion: Fusion, joined: FusionFeatures, context: RunContext, batch: int = BATCH) -> None:
        self.fusion, self.joined, self.context, self.batch = fusion, joined, context, batch
        self.modalities = tuple(joined.tokens)
        self.labels = torch.zeros(0, dtype=torch.int64)  # not trained on
        self.at = torch.zeros(0, len(self.modalities), dtype=torch.int64)
        self.tested = rows_of(joined.index, "test")
        self.present = torch.stack([joined.present(m) for m in self.modalities], dim=1)  # (window, modality)
        self.means: dict[str, Tensor] = {}
        if needs_means(fusion):
            train = torch.as_tensor(rows_of(joined.index, "train"), dtype=torch.int64)
            for name, x in joined.tokens.items():
                valid = x[train][joined.masks[name][train]].double()
                self.means[name] = valid.sum(dim=0).div(max(1, len(valid))).float()

    def probabilities(self, at: Tensor) -> np.ndarray:
        """Return the fusion's probabilities (row, class) float64.

        Raises:
            TrainingError: a logit is not a finite number.
        """
        self.at = at
        settings = self.context.settings
        name = self.context.run.name
        return evaluate.predict(self.fusion, self, range(len(at)), self.batch, settings.precision, name).windows

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Return tokens, mask and logits for one modality after another, on the CPU."""
        loaded: list[Tensor] = []
        for number, (name, (tokens, masks, logits)) in enumerate(self.joined.parts().items()):
            at = self.at[rows, number]
            absent = at < 0
            at = at.clamp_min(0)
            x, mask = tokens[at], masks[at] & ~absent[:, None]
            if name in self.means:
                x[absent] = self.means[name]
                mask[absent, 0] = True
            loaded += [x, mask, logits[at]]
        return tuple(loaded)

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        moved = [values.to(self.context.device, non_blocking=True) for values in loaded]
        tokens, masks, logits = (dict(zip(self.modalities, moved[i::3], strict=True)) for i in range(3))
        return ModelOutput(model(tokens, masks, logits).logits)


def coalition_table(mixing: Mixing, classes: Sequence[str]) -> pd.DataFrame:
    """Return subject, trial, window, class, coalition and value for every test window, in the order of the index.

    ``coalition``: the modalities joined by ``+``; the value of the empty one is the log of the class shares of the
    training trials. Values are float32 natural logarithms, at least log(1e-12) as in the decision of a trial.
    """
    windows = torch.as_tensor(mixing.tested, dtype=torch.int64)
    rows = CoalitionRows.of(mixing.modalities, mixing.present[windows].numpy())
    tested = windows[torch.from_numpy(rows.window)]
    at = torch.where(torch.from_numpy(rows.members[rows.coalition]), tested[:, None], -1)
    # A modality that was not recorded is masked in its window: the fusion's own treatment of missing recordings.
    at = torch.where(mixing.present[tested], at, tested[:, None])
    values = np.tile(majority(mixing.joined.index, classes).windows[:1], (len(tested), 1))
    some = rows.coalition > 0
    if some.any():
        values[some] = mixing.probabilities(at[some])
    table = rows.table(mixing.joined.index[list(KEYS)].iloc[windows.numpy()], classes, values)
    return table.astype({"value": np.float32})


def reproduction(table: pd.DataFrame, tested: pd.DataFrame, classes: Sequence[str]) -> float:
    """Return the largest difference between the probabilities of each window's largest coalition and ``tested``.

    Infinite if the table has other windows than ``tested``.
    """
    size = table["coalition"].str.count(r"\+") + (table["coalition"] != "")
    largest = table[size == size.groupby([table[k] for k in KEYS], sort=False).transform("max")]
    wide = largest.pivot_table(index=list(KEYS), columns="class", values="value", sort=False)
    stored = tested.set_index(list(KEYS))[[f"p_{c}" for c in classes]]
    if len(wide) != len(stored) or not wide.index.isin(stored.index).all():
        return float("inf")
    found = np.exp(wide[list(classes)].to_numpy(float)) - stored.reindex(wide.index).to_numpy(float)
    return float(np.abs(found).max(initial=0.0))
