"""Explanation of one trial: probabilities per modality and fusion, attention, and attributions of the inputs.

In: a study with a finished run that *tested* the trial. Out: an :class:`Explanation`, stored as arrays (.npz) and
receipts (.json) in that run's folder. Loading one needs neither torch nor the recordings.

The explained prediction is the fusion's, or a single modality's if the study has no finished fusion; the explained
class is the one predicted for the trial.
"""

from __future__ import annotations

from eavdash.errors import UsageError
from eavdash.explain.explanation import METHODS, Explanation, save_explanation
from eavdash.store import StudyDir

STEPS = 32
MOST_STEPS = 1_000  # the quadrature takes the square of it in memory


def explain_trial(
    study: StudyDir,
    subject: str,
    trial: str,
    *,
    fold: int | None = None,
    seed: int | None = None,
    method: str = METHODS[0],
    device: str = "cpu",
    steps: int = STEPS,
) -> Explanation:
    """Compute and store the explanation of a trial by the (first) run that tested it.

    Raises:
        UsageError: there is no such method, or no finished run has tested the trial.
        EavdashError: the run's files are damaged, or the recordings cannot be read.
    """
    from eavdash.explain.choose import testing_run
    from eavdash.explain.compute import compute

    if method not in METHODS:
        raise UsageError.at("method", expected=", ".join(METHODS), found=repr(method), remedy="choose one")
    if not 1 <= steps <= MOST_STEPS:
        raise UsageError.at("steps", expected=f"1 to {MOST_STEPS:,}", found=str(steps), remedy="choose among these")
    made = compute(study, testing_run(study, subject, trial, fold, seed), subject, trial, method, device, steps)
    save_explanation(study.run(made.run), made)
    return made
