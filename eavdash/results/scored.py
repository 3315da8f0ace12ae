"""All trials of a study's finished runs in one table, and the scores that are made of them.

In: the joined tables of :mod:`eavdash.results.trial_scores`, as :mod:`eavdash.results.study_scores` reads them. Out: a
:class:`Scored`, whose scores are computed on arrays of codes, all subjects and stages at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from eavdash.config.choices import STAGES
from eavdash.results.metrics import METRICS, codes, score_groups, shared_weights
from eavdash.results.reading import BASELINES
from eavdash.text import natural_order

LEVELS = ("trial", "window", "frame")
SCORE_COLUMNS = ("study", "subject", "stage", "level", "n", *METRICS)
STAGE_RANK = {stage: rank for rank, stage in enumerate((*STAGES, *BASELINES))}


@dataclass(frozen=True)
class Column:
    """A column of texts: the code of each row, and the texts by code in the order of display."""

    code: np.ndarray  # (row,) int64
    texts: tuple[str, ...]

    @classmethod
    def of(cls, values: pa.ChunkedArray, order: Sequence[str] = ()) -> Column:
        """Return the column; ``order``: of its texts, otherwise their natural order."""
        encoded = values.combine_chunks().dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        found = encoded.dictionary.to_pylist()
        texts = tuple(dict.fromkeys([*order, *found])) if order else natural_order(found)
        place = {text: number for number, text in enumerate(texts)}
        positions = np.array([place[text] for text in found], np.int64)
        return cls(positions[encoded.indices.to_numpy(zero_copy_only=False)], texts)

    def __getitem__(self, rows: np.ndarray) -> pd.Series:
        """Return the texts of some rows."""
        return pd.Series(pd.array(np.array([*self.texts, ""], dtype=object), dtype="str").take(self.code[rows]))


@dataclass(frozen=True)
class Scored:
    """The test and validation trials of a study's finished runs.

    ``problems``: a message about each run whose files cannot be used, by the run's name; ``beside``: about each whose
    baselines alone cannot. ``unread``: subject and trial of those that a run could not read, which are in no table.
    ``epochs``: stage and accuracies of the chosen and of the last epoch, of each run whose epoch the test trials chose.
    """

    study: str
    table: pa.Table
    runs: Column
    problems: dict[str, str] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    unread: tuple[tuple[str, str], ...] = ()
    epochs: dict[str, tuple[str, float, float]] = field(default_factory=dict)

    @cached_property
    def stage(self) -> Column:
        """The stage or baseline that decided."""
        return Column.of(self.table["stage"], tuple(STAGE_RANK))

    @cached_property
    def subject(self) -> Column:
        """The subject."""
        return Column.of(self.table["subject"])

    @cached_property
    def trial(self) -> Column:
        """The trial's name."""
        return Column.of(self.table["trial"])

    @cached_property
    def split(self) -> Column:
        """``test`` or ``validation``."""
        return Column.of(self.table["split"])

    @cached_property
    def classes(self) -> list[str]:
        """The classes, in the study's order."""
        return [c.removeprefix("p_") for c in self.table.column_names if c.startswith("p_")]

    @cached_property
    def _every(self) -> tuple[str, ...]:
        # The classes come first, so that a class's position among them is its code.
        return tuple(dict.fromkeys([*self.classes, *self.table["label"].unique().to_pylist()]))

    @cached_property
    def label(self) -> Column:
        """The label."""
        return Column.of(self.table["label"], self._every)

    @cached_property
    def predicted(self) -> Column:
        """The predicted class."""
        return Column.of(self.table["predicted"], self._every)

    def number(self, name: str) -> np.ndarray:
        """Return a column of whole numbers (row,), such as ``fold``."""
        return np.asarray(self.table[name].to_numpy(), np.int64)

    def rows(self, stages: Sequence[str] | None = None, split: str = "test") -> np.ndarray:
        """Return the numbers of the rows of some stages (None: without baselines) and a split."""
        wanted = set(STAGES if stages is None else stages)
        there = np.array([text in wanted for text in self.stage.texts], bool)
        inside = np.array([text == split for text in self.split.texts], bool)
        if not self.table.num_rows:
            return np.zeros(0, np.int64)
        return np.flatnonzero(there[self.stage.code] & inside[self.split.code])

    def trials(self, stages: Sequence[str] | None = None) -> pd.DataFrame:
        """Return ``tables.trials`` of some stages; None: of all but the baselines."""
        rows = self.rows(stages)
        keys = self.number("seed"), self.number("fold"), self.stage.code, self.trial.code, self.subject.code
        rows = rows[np.lexsort([key[rows] for key in keys])]
        taken = self.table.take(pa.array(rows)) if len(rows) else self.table.slice(0, 0)
        predicted, label = self.predicted[rows], self.label[rows]
        p = [f"p_{c}" for c in self.classes]
        frame = pd.DataFrame({"study": pd.Series([self.study] * len(rows), dtype="str"), "run": self.runs[rows]})
        frame["stage"], frame["subject"], frame["trial"] = self.stage[rows], self.subject[rows], self.trial[rows]
        frame["group"] = Column.of(taken["group"])[np.arange(len(rows))] if len(rows) else pd.Series([], dtype="str")
        frame["label"], frame["predicted"], frame["correct"] = label, predicted, label == predicted
        values = {name: np.asarray(taken[name].to_numpy(), float) for name in p}
        frame["confidence"] = np.max(list(values.values()), axis=0) if values and len(rows) else np.zeros(len(rows))
        for name in ("fold", "seed", "windows"):
            frame[name] = np.asarray(taken[name].to_numpy(), np.int64)
        more = {n: np.asarray(taken[n].to_numpy(), float) for n in taken.column_names if n.startswith("attention_")}
        frame = pd.concat([frame, pd.DataFrame(values | more, index=frame.index)], axis=1)
        frame.attrs |= self.attrs
        return frame

    def scores(
        self,
        level: str = "trial",
        by: Sequence[str] = (),
        stages: Sequence[str] | None = None,
        split: pd.DataFrame | None = None,
        part: str = "test",
    ) -> pd.DataFrame:
        """Return ``tables.scores``; ``split``: subject, trial and a column to split by; ``part``: the split."""
        rows = self.rows(stages, part)
        kind: list[str] = []
        kinds = Column(np.zeros(self.table.num_rows, np.int64), ("",))
        if split is not None:
            name = str(split.columns[-1])
            kind = [f"trial's {name}" if name in (*SCORE_COLUMNS, *by) else name]
            kinds = self._kinds(split)
            rows = rows[kinds.code[rows] >= 0]
        columns = [*SCORE_COLUMNS[:3], *kind, *by, *SCORE_COLUMNS[3:]]
        items, predicted = self._items(level, rows)
        if not len(items):
            return self._noted(pd.DataFrame(columns=columns))
        keys = [self.subject.code, self.stage.code, *(self.number(name) for name in by), kinds.code]
        group, first = codes(*(key[items] for key in keys))
        place = np.arange(len(items)) - np.searchsorted(items, items)  # of a window or frame within its trial
        item, _ = codes(group, self.trial.code[items], place if level != "trial" else np.zeros_like(items))
        weight = shared_weights(item)
        made = score_groups(group, self.label.code[items], predicted, weight, len(first), len(self._every))
        n = np.rint(np.bincount(group, weight)).astype(int)
        one = items[first]
        order = np.lexsort([key[one] for key in (keys[-1], *keys[-2:1:-1], keys[1], keys[0])])
        one = one[order]
        frame = pd.DataFrame({"study": [self.study] * len(one), "subject": self.subject[one], "stage": self.stage[one]})
        if kind:
            frame[kind[0]] = kinds[one]
        for name in by:
            frame[name] = self.number(name)[one]
        frame["level"], frame["n"] = level, n[order]
        for number, name in enumerate(METRICS):
            frame[name] = made[order, number]
        return self._noted(frame[columns])

    def spread(self, level: str, metric: str) -> dict[tuple[str, str], str]:
        """Return by subject and stage the metric of each seed and of each fold, where there are several, as text."""
        found: dict[tuple[str, str], list[str]] = {}
        for by in ("seed", "fold"):
            for key, rows in self.scores(level, (by,)).groupby(["subject", "stage"], sort=False):
                if len(rows) > 1:
                    pairs = zip(rows[by].tolist(), rows[metric].tolist(), strict=True)
                    each = [f"{number}: {100 * value:.0f} %" for number, value in pairs]
                    found.setdefault((str(key[0]), str(key[1])), []).append(f"{by}s {', '.join(each)}")
        return {key: "; ".join(texts) for key, texts in found.items()}

    @property
    def messages(self) -> list[str]:
        """Messages about all runs that cannot be used as a whole."""
        return [*self.problems.values(), *self.beside.values()]

    @property
    def attrs(self) -> dict[str, object]:
        """Notes that pages and commands show beside a table."""
        return {"problems": self.messages, "unread": [*self.unread]}

    def _noted(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame.attrs |= self.attrs
        return frame

    def _items(self, level: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for each decision of a level the number of its row, in order, and the code of the predicted class."""
        if level == "trial":
            return rows, self.predicted.code[rows]
        lists = self.table[f"{level}s_predicted"].combine_chunks()
        lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
        ends = lists.offsets.to_numpy()
        sizes = (ends[1:] - ends[:-1])[rows]
        items = np.repeat(rows, sizes)
        place = np.arange(len(items)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return items, lists.values.to_numpy()[ends[items] + place].astype(np.int64)

    def _kinds(self, split: pd.DataFrame) -> Column:
        values = split.set_axis(["subject", "trial", "kind"], axis=1).drop_duplicates(["subject", "trial"])
        texts = natural_order(values["kind"].astype(str))
        code = {text: number for number, text in enumerate(texts)}
        found = {(s, t): code[k] for s, t, k in values.itertuples(index=False)}
        pairs, first = codes(self.subject.code, self.trial.code)
        names = [(self.subject.texts[self.subject.code[n]], self.trial.texts[self.trial.code[n]]) for n in first]
        return Column(np.array([found.get(name, -1) for name in names], np.int64)[pairs], texts)
