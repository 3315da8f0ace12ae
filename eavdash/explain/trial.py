"""Explanation of one trial: probabilities per modality and fusion, attention, and attributions of the inputs.

In: a study with a finished run that *tested* the trial, and a question. Out: an :class:`Explanation`, stored as arrays
(.npz) and receipts (.json) in that run's folder. Loading one needs neither torch nor the recordings.

The explained prediction is that of ``stage``; without one it is the fusion's, or a single modality's if the study has
no finished fusion. A modality alone is explained by the run in which its encoder was trained.
"""

from __future__ import annotations

from eavdash.errors import UsageError
from eavdash.explain.explanation import Explanation, explanation_name, load_explanation, save_explanation
from eavdash.explain.question import METHOD, PREDICTED, Question
from eavdash.store import StudyDir

MOST_STEPS = 1_000  # the quadrature takes the square of it in memory


def explain_trial(
    study: StudyDir,
    subject: str,
    trial: str,
    *,
    fold: int | None = None,
    seed: int | None = None,
    stage: str = "",
    method: str = METHOD,
    target: str = PREDICTED,
    against: str = "",
    baseline: str = "",
    device: str = "cpu",
    steps: int = 0,
) -> Explanation:
    """Compute and store the explanation of a trial by the (first) run that tested it.

    Args:
        target: the class to explain: ``predicted`` for the trial, ``true``, or a class.
        against: another class to contrast it with, or ``true`` or ``runner-up``; empty: none.
        baseline: as :data:`~eavdash.explain.baselines.BASELINES`; empty: the method's first.
        steps: points of the quadrature on each path; 0: as many as completeness needs.

    Raises:
        UsageError: there is no such method, stage or class, or no finished run has tested the trial.
        EavdashError: the run's files are damaged, or the recordings cannot be read.
    """
    from eavdash.explain.choose import testing_run
    from eavdash.explain.compute import compute

    question = Question(method, target, against, baseline)
    if not 0 <= steps <= MOST_STEPS:
        expected = f"1 to {MOST_STEPS:,}, or 0 for as many as needed"
        raise UsageError.at("steps", expected=expected, found=str(steps), remedy="choose among these")
    run = testing_run(study, subject, trial, fold, seed, stage)
    made = compute(study, run, subject, trial, question.of(run, subject, trial), device, steps)
    save_explanation(run, made)
    return made


def find_explanation(
    study: StudyDir,
    subject: str,
    trial: str,
    *,
    fold: int | None = None,
    seed: int | None = None,
    stage: str = "",
    method: str = METHOD,
    target: str = PREDICTED,
    against: str = "",
    baseline: str = "",
) -> Explanation | None:
    """Return the stored explanation that :func:`explain_trial` would compute; None if there is none for this model.

    Raises:
        UsageError: as :func:`explain_trial`. IntegrityError: its files are damaged.
    """
    from eavdash.explain.choose import testing_run

    question = Question(method, target, against, baseline)
    run = testing_run(study, subject, trial, fold, seed, stage)
    return load_explanation(run, explanation_name(run, subject, trial), *question.of(run, subject, trial))
