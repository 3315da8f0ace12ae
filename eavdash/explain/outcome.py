"""The decision of a model on a trial's windows, from encoded modalities: an :class:`Outcome`.

Shapley values come from :mod:`eavdash.results.shapley`, as those of shapley.parquet do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.explain.fused import FusedModel
from eavdash.explain.game import Encoded, Game
from eavdash.explain.whatif_record import Outcome, Probabilities, WindowOutcome
from eavdash.models.layers import softmax
from eavdash.results import shapley
from eavdash.results.decision import log_probabilities, normalised
from eavdash.store.documents import RunConfig


class Decided(Protocol):
    """A model that decides, and what is known of a trial."""

    model: FusedModel
    info: RunConfig
    subject: str
    trial: str
    spans: dict[int, tuple[float, float]]  # start and stop (seconds) of each window by its number

    @property
    def shares(self) -> np.ndarray:
        """Shares of the classes (K,) among the training trials."""

    @property
    def means(self) -> dict[str, Tensor]:
        """Mean tokens of the training windows, if the fusion needs them."""


def outcome(by: Decided, recorded: Mapping[str, Encoded], encoded: Mapping[str, Encoded], target: str = "") -> Outcome:
    """Return the decision from ``encoded``; ``recorded``: the same without changes.

    ``target``: the class of the Shapley values; empty: the decided one. Windows in which nothing is left have no
    decision and count nowhere.
    """
    classes, stage = by.info.classes, by.info.stage
    present = torch.stack([part.present for part in encoded.values()], dim=1).cpu()  # (W, M)
    rows = present.any(dim=1).nonzero()[:, 0]
    found = {m: _filled(softmax(part.logits), part.present.cpu().numpy()) for m, part in encoded.items()}
    game, attention = None, None
    if by.model.fusion is not None:  # without one the only encoder decides, whose stage is its modality
        before = torch.stack([part.present for part in recorded.values()], dim=1).cpu()
        parts = {m: Encoded(p.tokens[rows], p.mask[rows], p.logits[rows]) for m, p in encoded.items()}
        game = Game(by.model.fusion, parts, before[rows], present[rows], by.means)
        values, attention = game.whole()
        found[stage] = np.full((len(present), len(classes)), np.nan)
        found[stage][rows.numpy()] = values
    logs = {s: np.nanmean(log_probabilities(p), axis=0) for s, p in found.items() if not np.isnan(p).all()}
    trial = {s: _named(classes, normalised(mean)) for s, mean in logs.items()}
    predicted = max(trial[stage], key=trial[stage].__getitem__)
    table = _table(by, game, rows) if game else None
    target = target or predicted
    values_of = {} if table is None else _values(table[table["class"] == target])
    shares = _shares(tuple(encoded), attention, rows)
    windows = []
    for number, (window, (start, stop)) in enumerate(by.spans.items()):
        own = {s: _named(classes, p[number]) for s, p in found.items() if not np.isnan(p[number]).any()}
        windows.append(
            WindowOutcome(
                window=window,
                start=start,
                stop=stop,
                predicted=max(own[stage], key=own[stage].__getitem__) if stage in own else "",
                probabilities=own,
                attention=shares.get(number, {}),
                shapley=values_of.get(window, {}),
            )
        )
    steps = None if table is None else shapley.waterfall(table, "", by.subject, by.trial, target)
    return Outcome(
        predicted=predicted,
        probabilities=trial,
        attention=_mean([w.attention for w in windows if w.attention]),
        shapley={m: v for m, v in steps.shapley.items() if m in dict(steps.steps)} if steps else {},
        steps=steps.steps if steps else (),
        windows=tuple(windows),
    )


def _table(by: Decided, game: Game, rows: Tensor) -> pd.DataFrame:
    """Return the coalitions of the windows ``rows``, as shapley.parquet has them, of a run without name."""
    keys = (by.subject, by.trial, by.info.fold, by.info.seed)
    chosen = np.array(list(by.spans))[rows.numpy()].tolist()
    columns = ["run", "subject", "trial", "fold", "seed", "window"]
    index = pd.DataFrame([("", *keys, number) for number in chosen], columns=columns)
    return game.table(index, by.info.classes, by.shares)


def _values(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """Return Shapley values by window and modality from the coalitions of one class."""
    found: dict[int, dict[str, float]] = {}
    values = shapley.shapley_values(table)
    for window, name, value in zip(values["window"], values["modality"], values["value"], strict=True):
        found.setdefault(int(window), {})[str(name)] = float(value)
    return found


def _filled(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the values (W, K), NaN where the window lacks the modality."""
    return np.where(there[:, None], values, np.nan)


def _named(classes: Sequence[str], values: np.ndarray) -> Probabilities:
    return dict(zip(classes, values.tolist(), strict=True))


def _shares(modalities: Sequence[str], attention: np.ndarray | None, rows: Tensor) -> dict[int, dict[str, float]]:
    """Return the attention shares by place of the window; none for a fusion without attention."""
    if attention is None:
        return {}
    means = attention.mean(axis=1).tolist()
    return {int(row): dict(zip(modalities, each, strict=True)) for row, each in zip(rows.tolist(), means, strict=True)}


def _mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {m: float(np.mean([part[m] for part in parts])) for m in parts[0]} if parts else {}
