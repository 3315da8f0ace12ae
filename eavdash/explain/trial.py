"""One trial explained: what each modality and the fusion said, what was attended to, and which parts spoke for it.

In: a study with a finished run that *tested* the trial. Out: an :class:`Explanation`, kept as arrays (.npz) and
receipts (.json) in that run's folder. Reading one back needs neither torch nor the recordings.

The explained decision is the fusion's, or a single modality's where the study has no finished fusion; the explained
class is the one predicted for the trial. Delegated: to data, the recordings; to attributions.py, Captum.
"""

from __future__ import annotations

from eavdash.errors import UsageError
from eavdash.explain.explanation import METHODS, Explanation, save_explanation
from eavdash.store import StudyDir

STEPS = 32


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
    """Compute and store the explanation of a trial by the run that tested it (the first, where several did).

    Raises:
        UsageError: there is no such method, or no finished run has tested the trial.
        EavdashError: the run's files are damaged, or the recordings cannot be read.
    """
    from eavdash.explain.choose import testing_run
    from eavdash.explain.compute import compute

    if method not in METHODS:
        raise UsageError.at("method", expected=", ".join(METHODS), found=repr(method), remedy="choose one")
    if steps < 1:
        raise UsageError.at("steps", expected="at least 1", found=str(steps), remedy="choose more")
    made = compute(study, testing_run(study, subject, trial, fold, seed), subject, trial, method, device, steps)
    save_explanation(study.run(made.run), made)
    return made
