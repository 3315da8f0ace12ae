"""Published scoring and honest scoring of one study, side by side: where each point of the difference comes from.

In: a study, a stage and optionally another study of the same trials. Out: a list of :class:`Step`, from the score as
published to the one that an unseen conversation would give; the changes add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from eavdash.config.convert import recorded_config
from eavdash.results import tables
from eavdash.results.between import Between
from eavdash.results.epochs import epoch_gain
from eavdash.results.marks import shared_groups
from eavdash.store import StudyDir


@dataclass(frozen=True)
class Step:
    """A way of scoring: the mean accuracy over subjects, the change from the step before, and its reason."""

    name: str
    accuracy: float
    change: float  # 0 for the first
    why: str


def optimism(
    study: StudyDir, stage: str, frames: pd.DataFrame, trials: pd.DataFrame, other: Between | None
) -> list[Step]:
    """Return the steps of a stage.

    Args:
        frames, trials: ``tables.scores`` of the study at those levels.
        other: the study (first) against one of another protocol (second), as :func:`eavdash.results.between.between`
            returns it; None without one.

    Raises:
        IntegrityError: the splits cannot be read.
    """
    found: list[Step] = []
    per_frame, per_trial = _mean(frames, stage), _mean(trials, stage)
    if per_trial is None:
        return []
    if per_frame is not None:
        found.append(Step("per frame, as published", per_frame, 0.0, "Every frame of a trial counts as a decision."))
    why = "One decision per trial, from all of its windows; frames of one trial are no independent cases."
    _add(found, "per trial", per_trial, why if found else "One decision per trial, from all of its windows.")
    gain = epoch_gain(study)
    added = dict(zip(gain["stage"], gain["added"], strict=True)).get(stage)
    if added is not None:
        _add(
            found,
            "last epoch",
            per_trial - float(added),
            "Without choosing the epoch by its accuracy on the test trials; mean over the runs.",
        )
    last = found[-1].accuracy
    if other is not None and (c := other.rows.get(stage)) is not None:
        groups = shared_groups(study)
        kept = last - per_trial  # what the epoch took away also holds on the common trials
        _add(
            found,
            "the trials that both studies test",
            c.mean_a + kept,
            f"{c.trials} trials of {c.subjects} subjects; the others are left out.",
        )
        _add(
            found,
            f"study {c.b}, same trials",
            c.mean_b,
            f"{groups or 'No test trial of the first study shares a group with training trials.'} Every other "
            "difference between the studies is in this change too.",
        )
    return found


def remark(study: StudyDir) -> str:
    """Return what the protocol of a study says about its optimism."""
    protocol = recorded_config(study.study()).protocol
    if protocol.name == "paper":
        return (
            "This study follows the published protocol. To see what its shared conversations add, choose a study of "
            "the protocol conversation on the same recordings."
        )
    return (
        f"This study follows the protocol {protocol.name}: "
        + ("its epoch is chosen on test trials" if protocol.test_epoch else "its epoch is not chosen on test trials")
        + ". What is left is the level at which it is scored."
    )


def _add(found: list[Step], name: str, accuracy: float, why: str) -> None:
    found.append(Step(name, accuracy, accuracy - found[-1].accuracy if found else 0.0, why))


def _mean(scores: pd.DataFrame, stage: str) -> float | None:
    mean = tables.summarise(scores)
    rows = mean.loc[mean["stage"] == stage, "accuracy"]
    return float(rows.iloc[0]) if len(rows) else None
