"""The choice of what is shown beside a map: another stored map of the trial, or the map of another trial.

In: an explanation. Out: another one, or None. The widget's value is text in the address: ``map`` or ``trial``, and
what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from eavdash.config.choices import STAGES
from eavdash.explain.records import StoredExplanation
from eavdash.report import theme
from eavdash.store import RunDir, StudyDir
from eavdash.text import natural_order
from eavdash.ui import address, cached_explanations, cached_results, widgets
from eavdash.ui.cached_explanations import Opened
from eavdash.ui.explain import receipts
from eavdash.ui.explain.choose_trial import PAGE

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation

KEY = f"{PAGE}_beside"
_Found = dict[str, tuple[str, RunDir, str, StoredExplanation]]  # by the widget's value: label, run, trial, which map


def choose(study: StudyDir, explanation: Explanation, container: Any) -> Opened | None:
    """Show the widget; return what is to be shown beside the explanation, or None."""
    found = _maps(study, explanation) | _trials(study, explanation)
    address.valid(KEY, found)
    chosen = container.selectbox(
        "Beside it",
        list(found),
        index=None,
        format_func=lambda name: found[name][0] if name in found else name,
        placeholder="Another map or trial" if found else "Nothing else is stored",
        disabled=not found,
        key=KEY,
        help="Another map of this trial moves with this one; another trial has its own playhead.",
    )
    if chosen is None:
        return None
    _, run, trial, which = found[chosen]
    with widgets.show_errors():
        return cached_explanations.opened(run, explanation.subject, trial, which)


def _maps(study: StudyDir, explanation: Explanation) -> _Found:
    """Return the other maps of this trial, of all stages that the same fold and seed decided."""
    subject, trial = explanation.subject, explanation.trial
    found: _Found = {}
    for run in _runs(study, explanation):
        stage = run.config().stage
        for which in cached_explanations.stored(run, subject, trial):
            if (run.name, which) != (explanation.run, explanation.stored):
                value = "~".join(("map", stage, *which))
                found[value] = (f"{_stage(stage)}{_described(which)}", run, trial, which)
    return found


def _trials(study: StudyDir, explanation: Explanation) -> _Found:
    """Return the map of each other trial of the subject that answers most nearly the same question."""
    run = study.run(explanation.run)
    rows = cached_results.trials(study)
    rows = rows[(rows["run"] == run.name) & (rows["subject"] == explanation.subject)]
    decided = {str(row["trial"]): row for row in rows.to_dict("records") if str(row["trial"]) != explanation.trial}
    found: _Found = {}
    for trial in natural_order(list(decided)):
        stored = cached_explanations.stored(run, explanation.subject, trial)
        if stored:
            which = max(stored, key=lambda each: _likeness(each, explanation, str(decided[trial]["predicted"])))
            label, right = decided[trial]["label"], "right" if decided[trial]["correct"] else "wrong"
            found[f"trial~{trial}"] = (f"Trial {trial} ({label}, {right})", run, trial, which)
    return found


def _likeness(stored: StoredExplanation, explanation: Explanation, predicted: str) -> tuple[bool, ...]:
    method = (stored.method, stored.baseline or "mean") == (explanation.method, explanation.baseline)
    same = stored.target == (predicted if explanation.target == explanation.predicted else explanation.target)
    return method, same, stored.against == explanation.against


def _runs(study: StudyDir, explanation: Explanation) -> Iterator[RunDir]:
    rows = cached_results.trials(study)
    here = rows[(rows["subject"] == explanation.subject) & (rows["trial"] == explanation.trial)]
    own = here[here["run"] == explanation.run]
    same = here[here["fold"].isin(own["fold"]) & here["seed"].isin(own["seed"])]
    for stage in (stage for stage in reversed(STAGES) if stage in set(same["stage"])):
        yield study.run(str(same[same["stage"] == stage]["run"].iloc[0]))


def _stage(stage: str) -> str:
    return "" if stage == "fusion" else f"{theme.label(stage)} alone, "


def _described(which: StoredExplanation) -> str:
    method = receipts.method_words(which.method, which.baseline)
    rather = f" rather than {which.against}" if which.against else ""
    return f"{method}: why {which.target}{rather}" if which.target else method
