"""Questions about the decision on a trial: which class is explained, and against which other.

In: a run that tested the trial, and words (``predicted``, ``true``, ``runner-up``) or classes. Out: classes, from the
run's predictions; neither torch nor the recordings are needed. A word that is also the name of a class is the class.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from eavdash.errors import UsageError
from eavdash.explain.baselines import baseline_of
from eavdash.explain.method_registry import lacking
from eavdash.explain.records import StoredExplanation
from eavdash.results.decision import mean_logs
from eavdash.store import RunDir

PREDICTED, TRUE, RUNNER_UP = "predicted", "true", "runner-up"
METHOD = "expected_gradients"  # the default
_OTHER = "choose another method, or --stage"


@dataclass(frozen=True)
class Question:
    """Question about a trial's decision; ``baseline`` empty: the method's default."""

    method: str = METHOD
    target: str = PREDICTED
    against: str = ""
    baseline: str = ""

    def __post_init__(self) -> None:
        baseline_of(self.method, self.baseline)

    def of(self, run: RunDir, subject: str, trial: str) -> StoredExplanation:
        """Return the question with classes for words, for a trial that ``run`` tested.

        Raises:
            UsageError: the method has no map of this run's decisions, or a class is unknown or compared with itself.
        """
        if reason := lacking(self.method, run):
            raise UsageError.at("method", expected="one that has a map of this decision", found=reason, remedy=_OTHER)
        classes = run.config().classes
        ranked, label = _decided(run, subject, trial, classes)
        words = {PREDICTED: ranked[0], TRUE: label}
        target = self._class("target", self.target, words, classes)
        words[RUNNER_UP] = next((name for name in ranked if name != target), "")
        against = self._class("against", self.against, words, classes) if self.against else ""
        if against == target:
            raise UsageError.at(
                f"trial {trial} of subject {subject}, against",
                expected=f"another class than the explained one, {target}",
                found=self.against if self.against == against else f"{self.against}, which is {against}",
                remedy="choose another class, or runner-up",
            )
        return StoredExplanation(self.method, target, against, baseline_of(self.method, self.baseline))

    def _class(self, name: str, asked: str, words: dict[str, str], classes: tuple[str, ...]) -> str:
        _require_class(name, asked, words, classes)
        found = asked if asked in classes else words[asked]
        if found not in classes:
            what = f"{asked}, which is {found!r}: not a class of the study"
            raise UsageError.at(name, expected=_listed(words, classes), found=what, remedy="choose one")
        return found


def require_classes(target: str, against: str, classes: Sequence[str]) -> None:
    """Check a question's words without a trial.

    Raises:
        UsageError: one of them is neither a class nor a word for one.
    """
    _require_class("target", target, (PREDICTED, TRUE), classes)
    if against:
        _require_class("against", against, (PREDICTED, TRUE, RUNNER_UP), classes)


def _require_class(name: str, asked: str, words: Collection[str], classes: Sequence[str]) -> None:
    """Check that ``asked`` is one of ``words`` or ``classes``; ``name``: of the option.

    Raises:
        UsageError: it is not.
    """
    if asked not in (*words, *classes):
        raise UsageError.at(name, expected=_listed(words, classes), found=repr(asked), remedy="choose one")


def _listed(words: Iterable[str], classes: Iterable[str]) -> str:
    return ", ".join((*words, *classes))


def _decided(run: RunDir, subject: str, trial: str, classes: tuple[str, ...]) -> tuple[list[str], str]:
    """Return the classes from the most to the least probable for the trial, and its label."""
    columns = [f"p_{name}" for name in classes]
    names = ["subject", "trial", "label", "frame", *columns]
    rows = pd.read_parquet(run.verify("predictions.parquet"), columns=names)
    rows = rows[(rows["subject"] == subject) & (rows["trial"] == trial) & (rows["frame"] == -1)]
    logs = mean_logs(rows, classes, ("subject", "trial"))[columns].to_numpy()[0]
    return [classes[i] for i in (-logs).argsort(kind="stable")], str(rows["label"].iloc[0])
