"""The answer to a what-if, before and after: a JSON document. Needs neither torch nor the recordings."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from eavdash.store.record import FIRST, FromList, Part, Record, Texts, Whole

#: Class → probability.
Probabilities = dict[str, float]
#: Modality → number.
ByModality = dict[str, float]
Step = tuple[str, float]


class ChangeMade(Part):
    """One change: how it is asked for, in words, and what exactly was done."""

    option: str
    argument: str
    modality: str
    words: str
    definition: str


class WindowOutcome(Part):
    """The decision on one window; ``predicted`` is empty where nothing is left of it."""

    window: Whole
    start: float  # seconds
    stop: float
    predicted: str = ""
    probabilities: dict[str, Probabilities] = Field(default_factory=dict)  # stage → class → probability
    attention: ByModality = Field(default_factory=dict)  # shares, averaged over the heads
    shapley: ByModality = Field(default_factory=dict)  # of the class ``target``, in nats


class Outcome(Part):
    """The decision on the trial, from its windows; numbers as in :class:`WindowOutcome`, over the windows."""

    predicted: str
    probabilities: dict[str, Probabilities]
    attention: ByModality = Field(default_factory=dict)
    shapley: ByModality = Field(default_factory=dict)
    #: From the training frequency of ``target`` (``base``) by dividends of coalitions to its log-probability
    #: (``decision``).
    steps: Annotated[tuple[Annotated[Step, FromList], ...], FromList] = ()
    windows: Annotated[tuple[WindowOutcome, ...], FromList] = ()


class WhatIf(Record):
    """One counterfactual of a test trial."""

    model_config = ConfigDict(title="a what-if")

    schema_version: Whole = FIRST
    study: str
    run: str
    stage: str  # whose decision it is
    subject: str
    trial: str
    label: str
    classes: Texts
    modalities: Texts  # of the model
    target: str  # the class decided before, to which Shapley values and steps belong
    changes: Annotated[tuple[ChangeMade, ...], FromList]
    before: Outcome
    after: Outcome
    encoders_run: Texts = ()  # modalities that were encoded again for this answer
    notes: Texts = ()
    reproduction: float | None = None  # largest difference of ``before`` from the run's predictions
    seconds: float = 0.0

    @property
    def sentence(self) -> str:
        """Return what the changes do to the decision."""
        words = [change.words for change in self.changes]
        what = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
        before, after = (outcome.probabilities[self.stage] for outcome in (self.before, self.after))
        first, second = self.before.predicted, self.after.predicted
        if first == second:
            shares = f"{_percent(before[first])} before, {_percent(after[first])} after"
            return f"With {what} the decision stays {first}: {shares}."
        return (
            f"With {what} the decision is {second} ({_percent(after[second])}) instead of {first} "
            f"({_percent(before[first])}, then {_percent(after[first])})."
        )

    def difference(self) -> tuple[Step, ...]:
        """Return the way from the log-probability of ``target`` before to that after, by changes of Shapley values.

        ``base`` is the decision before and ``decision`` that after; empty without a fusion. An absent modality has the
        value 0, and the training frequency, from which both decisions begin, is the same.
        """
        if not self.before.steps or not self.after.steps:
            return ()
        first, last = self.before.shapley, self.after.shapley
        steps = [(m, last.get(m, 0.0) - first.get(m, 0.0)) for m in self.modalities if m in first or m in last]
        return (("base", self.before.steps[-1][1]), *steps, ("decision", self.after.steps[-1][1]))


def _percent(share: float) -> str:
    """Return a share as text that tells 1 from almost 1."""
    text = f"{100 * share:.0f}" if 0.1 <= share <= 0.95 else f"{100 * share:.1f}"
    return f"{text} %"
