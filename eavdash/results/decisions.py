"""Decisions by stage: one row per tested (subject, trial, fold, seed), one column per stage.

In: a table of ``tables.trials``, or the trials that :mod:`eavdash.results.study_scores` has read. Out: codes, from
which two stages are compared on the trials that both have been tested on, in any metric.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from eavdash.results.metrics import METRICS, codes, score_groups, shared_weights
from eavdash.results.paired import Comparison
from eavdash.results.scored import Scored


@dataclass(frozen=True)
class Decisions:
    """Codes of tested items; a trial is (subject, trial).

    ``predicted`` (item, stage): the predicted class, -1 where the stage has not been tested. ``texts``: the subjects.
    ``compared``: by both stages and the metric.
    """

    stages: tuple[str, ...]
    subject: np.ndarray  # (item,)
    trial: np.ndarray  # (item,)
    label: np.ndarray  # (item,)
    predicted: np.ndarray
    texts: tuple[str, ...]
    classes: int
    compared: dict[tuple[str, str, str], Comparison] = field(default_factory=dict)  # what is known already

    @classmethod
    def of_trials(cls, trials: pd.DataFrame) -> Decisions:
        """Return the decisions of a table of ``tables.trials``, in the order of its stages and subjects."""
        label, predicted = trials["label"].astype(str), trials["predicted"].astype(str)
        places = {text: code for code, text in enumerate(pd.unique(pd.concat([label, predicted])))}
        stage, stages = pd.factorize(trials["stage"].astype(str))
        subject, subjects = pd.factorize(trials["subject"].astype(str))
        trial = pd.factorize(trials["trial"].astype(str))[0]
        numbers = (trials[name].to_numpy(np.int64) for name in ("fold", "seed"))
        coded = label.map(places).to_numpy(np.int64), predicted.map(places).to_numpy(np.int64)
        return cls._of(stage, tuple(stages), subject, tuple(subjects), trial, (*numbers,), coded, len(places))

    @classmethod
    def of_scored(cls, scored: Scored, rows: np.ndarray) -> Decisions:
        """Return the decisions of some rows of a study's trials."""
        there = np.unique(scored.stage.code[rows])
        stage = np.searchsorted(there, scored.stage.code[rows])
        numbers = (scored.number(name)[rows] for name in ("fold", "seed"))
        coded = scored.label.code[rows], scored.predicted.code[rows]
        return cls._of(
            stage,
            tuple(scored.stage.texts[n] for n in there),
            scored.subject.code[rows],
            scored.subject.texts,
            scored.trial.code[rows],
            (*numbers,),
            coded,
            len(scored.label.texts),
        )

    @classmethod
    def _of(
        cls,
        stage: np.ndarray,
        stages: tuple[str, ...],
        subject: np.ndarray,
        subjects: tuple[str, ...],
        trial: np.ndarray,
        numbers: tuple[np.ndarray, ...],
        coded: tuple[np.ndarray, np.ndarray],
        classes: int,
    ) -> Decisions:
        item, first = codes(subject, trial, *numbers)
        predicted = np.full((len(first), len(stages)), -1, np.int64)
        predicted[item, stage] = coded[1]
        of_trial = codes(subject[first], trial[first])[0]
        return cls(stages, subject[first], of_trial, coded[0][first], predicted, subjects, classes)

    def __contains__(self, stage: object) -> bool:
        return stage in self.stages

    def tested(self, *stages: str) -> np.ndarray:
        """Return which items all of these stages have been tested on."""
        places = [self.stages.index(stage) for stage in stages]
        return np.asarray((self.predicted[:, places] >= 0).all(axis=1))

    def people(self, stage: str, items: np.ndarray, metric: str = "accuracy") -> np.ndarray:
        """Return a metric of a stage by subject (subject,), NaN for those without such items.

        The decisions of one trial, by several folds or seeds, share its weight.
        """
        subject, predicted = self.subject[items], self.predicted[items, self.stages.index(stage)]
        weight = shared_weights(self.trial[items])
        found = score_groups(subject, self.label[items], predicted, weight, len(self.texts), self.classes)
        return np.asarray(found[:, list(METRICS).index(metric)])

    def trials(self, items: np.ndarray) -> int:
        """Return the number of distinct trials of some items."""
        return len(np.unique(self.trial[items]))

    def subjects(self, items: np.ndarray) -> int:
        """Return the number of distinct subjects of some items."""
        return len(np.unique(self.subject[items]))
