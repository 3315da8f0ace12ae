"""A trial's windows as cooperative games of their modalities: what a fusion decides from every coalition of them.

In: encoded modalities of W windows, and which of them each window has. Out: the fusion's output, and the table of
coalitions from which :mod:`eavdash.results.shapley` derives values, as shapley.parquet has it for the recordings as
they are. A modality outside a coalition is absent in the same way as there (docs/shapley.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.models.fusion import Fusion, FusionOutput
from eavdash.models.layers import softmax
from eavdash.results.coalition_table import CoalitionRows

BATCH = 256  # rows at once


@dataclass(frozen=True)
class Encoded:
    """An encoder's output for W windows: zeros, masked, where a window lacks the modality."""

    tokens: Tensor  # (W, T, D)
    mask: Tensor  # (W, T) bool
    logits: Tensor  # (W, K)

    @property
    def present(self) -> Tensor:
        """(W,) bool, True where the window has the modality."""
        return self.mask.any(dim=1)


@dataclass(frozen=True)
class Game:
    """The modalities of W windows and the fusion that decides from them.

    ``recorded`` and ``present`` (W, M) bool: which modalities a window has without, and with, the changes.
    ``means``: by modality, the mean token (D,) of the training windows, for fusions that know no absence.
    """

    fusion: Fusion
    encoded: Mapping[str, Encoded]
    recorded: Tensor
    present: Tensor
    means: Mapping[str, Tensor]

    def decide(self, rows: Tensor, members: Tensor) -> FusionOutput:
        """Return the fusion's output for windows ``rows`` (R,), each from the modalities ``members`` (R, M) bool."""
        tokens, masks, logits = {}, {}, {}
        for number, (name, part) in enumerate(self.encoded.items()):
            inside = members[:, number].to(part.mask.device)
            at = rows.to(part.mask.device)
            x, mask = part.tokens[at], part.mask[at] & inside[:, None]
            if name in self.means:
                stands_in = self.recorded[rows, number].to(inside.device) & ~inside
                x = torch.where(stands_in[:, None, None], self.means[name].to(x), x)
                mask = mask.clone()
                mask[stands_in, 0] = True
            tokens[name], masks[name], logits[name] = x, mask, part.logits[at]
        out: FusionOutput = self.fusion(tokens, masks, logits)
        return out

    def whole(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the decision from all present modalities: probabilities (W, K) and attention shares (W, heads, M)."""
        rows = torch.arange(len(self.present))
        out = self.decide(rows, self.present)
        attention = None if out.attention is None else out.attention.double().cpu().numpy()
        return softmax(out.logits), attention

    def table(self, index: pd.DataFrame, classes: Sequence[str], shares: np.ndarray) -> pd.DataFrame:
        """Return the columns of shapley.parquet, and ``run``, ``fold``, ``seed`` from ``index``, a row per window.

        ``shares``: of the classes (K,) among the training trials, from which the empty coalition decides.
        """
        rows = CoalitionRows.of(tuple(self.encoded), self.present.numpy())
        window, members = torch.from_numpy(rows.window), torch.from_numpy(rows.members[rows.coalition])
        values = np.tile(np.asarray(shares, dtype=np.float64), (len(window), 1))
        some = np.flatnonzero(rows.coalition)
        for at in range(0, len(some), BATCH):
            part = some[at : at + BATCH]
            values[part] = softmax(self.decide(window[part], members[part]).logits)
        return rows.table(index, classes, values)
