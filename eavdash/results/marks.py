"""Marks shown with a study's scores: reasons why they are biased or not comparable.

In: a study's configuration, its splits, and what it leaves out. Out: marks, each a short text and its reasons.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eavdash.config import scaling
from eavdash.config.convert import recorded_config
from eavdash.config.schema import StudyConfig
from eavdash.results import paper
from eavdash.results.columns import study_table
from eavdash.results.left_out import count, sentences
from eavdash.store import StudyDir
from eavdash.store.documents import StudyDocument
from eavdash.text import plural


@dataclass(frozen=True)
class Mark:
    """``text``: label shown beside a score. ``why``: sentences with the reasons, which if ``complete`` say it too."""

    text: str
    why: tuple[str, ...]
    complete: bool = False

    @property
    def sentence(self) -> str:
        """Text and reasons as one line, neither of them twice."""
        reasons = " ".join(self.why)
        return reasons if self.complete else f"{self.text}: {reasons}"


TRANSDUCTIVE = Mark(
    "transductive",
    (
        "Each subject's EEG and audio are standardised with all of that subject's windows, including those of the test "
        "trials (their labels are not used): the scores are those of a system that has recorded a person's whole "
        "session before it classifies any part of it.",
    ),
)


def calibrated(trials: int) -> Mark:
    """Return the mark of scores of people of whom a number of ``trials`` is known."""
    return Mark(
        f"calibration with {plural(trials, 'trial')}",
        (
            f"{plural(trials, 'unlabelled trial')} of each person {'is' if trials == 1 else 'are'} used for scaling "
            "and not scored.",
        ),
    )


TEST_EPOCH = Mark(
    "epoch chosen on the test trials: not an estimate",
    (
        "As published, the epoch with the best accuracy on the test trials is kept; the resulting gain is shown beside "
        "the scores.",
    ),
)
PUBLISHED = Mark(
    paper.MARK,
    (
        "There is no validation set: nothing can be chosen, not even the number of epochs, without looking at the test "
        "trials.",
    ),
)
POOLED = Mark(
    "pooled",
    (
        "Every subject's encoders start from encoders trained on the training trials of all subjects in the same fold, "
        "which have not seen any test trials of that fold.",
    ),
)
JOINT = Mark(
    "joint fine-tuning: beyond the paper",
    (
        "After the training of the fusion, encoders and fusion are trained together; the published procedure keeps the "
        "encoders frozen.",
    ),
)


def study_marks(document: StudyDocument, study: StudyDir | None = None) -> tuple[Mark, ...]:
    """Return the marks of a study: of its configuration, and of what it leaves out.

    With ``study`` the mark of the published protocol counts the test trials of its own splits that share a group with
    training trials; the publication's own figures stand beside its Table I alone
    (:data:`eavdash.results.paper.CAVEATS`).
    """
    left_out = document.left_out
    people = left_out.subjects if left_out else {}
    texts = [count(left_out), f"{plural(len(people), 'subject')} left out" if people else ""]
    text = ", ".join(filter(None, texts))
    why = tuple(sentences(left_out))
    more = (Mark(text or "trials used without a recording", why, complete=True),) if why else ()
    found = (*marks_of(recorded_config(document)), *more)
    if study is None or PUBLISHED not in found:
        return found
    counted = replace(PUBLISHED, why=(*PUBLISHED.why, *filter(None, [shared_groups(study)])))
    return tuple(counted if mark == PUBLISHED else mark for mark in found)


def shared_groups(study: StudyDir) -> str:
    """Return how many test trials share a group with training trials of the same fold; empty if none does.

    Raises:
        IntegrityError: the splits cannot be read.
    """
    splits = study_table(study.splits_file, ("subject", "trial", "group", "fold", "split"))
    keys = ["subject", "group", "fold"]
    train = splits.loc[splits["split"] == "train", keys].drop_duplicates()
    tested = splits[splits["split"] == "test"]
    shared = len(tested.merge(train, on=keys))
    if not shared:
        return ""
    return (
        f"{shared} of {plural(len(tested), 'test trial')} share a group, such as a conversation, with training trials: "
        "what is alike within a group counts as recognised."
    )


def marks_of(config: StudyConfig) -> tuple[Mark, ...]:
    """Return the marks of a configuration."""
    protocol = config.protocol
    kept = scaling.calibration_trials(protocol.subject_scaling)
    every = (
        (protocol.name == "paper", PUBLISHED),
        (protocol.test_epoch, TEST_EPOCH),
        (protocol.subject_scaling == scaling.ALL, TRANSDUCTIVE),
        (kept > 0, calibrated(kept)),
        (protocol.pooled, POOLED),
        ("fusion" in config.stages and config.fusion.joint_epochs > 0, JOINT),
    )
    return tuple(mark for holds, mark in every if holds)
