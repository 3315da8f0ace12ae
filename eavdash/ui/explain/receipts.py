"""The receipts of an explanation on its page: what may be believed of its maps, and how they were computed.

In: an ``eavdash.explain.explanation.Explanation``. Out: a verdict for each check with its reason, and sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from eavdash.explain.check_record import Check, worst
from eavdash.explain.method_registry import METHODS, NONE
from eavdash.explain.receipts.registry import CHECKS
from eavdash.report import theme
from eavdash.store import RunDir, StudyDir, checkpoints_root
from eavdash.text import markdown
from eavdash.ui import cached_explanations, tasks, widgets
from eavdash.ui.explain.choose_trial import PAGE

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation

LARGE_GAP = 0.1  # relative completeness gap above which explanations of earlier versions, without checks, are marked
_SYMBOLS = {"pass": "✓ pass", "doubtful": "? doubtful", "fail": "✕ fail", "not run": "– not run"}
_FAILED = "These maps are not reliable"


def show_receipts(study: StudyDir, explanation: Explanation, window: int) -> str:
    """Show the verdicts and their reasons; return in a few words why the maps are not to be believed, or nothing.
    The checks of the run, which are the same for all of its trials, follow those of the map.
    """
    run = study.run(explanation.run)
    checks = checks_of(study, explanation)
    failed = _reasons(explanation, window, checks)
    if failed:
        st.error(markdown(f"{_FAILED}: {' '.join(failed)}"), icon=":material/report:")
    doubtful = [check for check in checks if check.verdict == "doubtful"]
    for check in doubtful:
        st.warning(markdown(f"Doubtful ({_name(check)}): {check.reason}"), icon=":material/help:")
    with st.expander(_summary(checks), key=f"{PAGE}_receipts"):
        if checks:
            st.table(receipt_table(checks), hide_index=True)
            if missed := missed_sentence(checks):
                st.caption(missed)
        if len(checks) == len(explanation.receipts.checks):
            _offer(study, run)
        for line in facts(explanation, window):
            st.caption(markdown(line))
    return why_failed(study, explanation, window)


def checks_of(study: StudyDir, explanation: Explanation) -> tuple[Check, ...]:
    """Return the checks of a map and of its run."""
    with widgets.show_errors():
        return (*explanation.receipts.checks, *cached_explanations.run_checks(study.run(explanation.run)))


def why_failed(study: StudyDir, explanation: Explanation, window: int) -> str:
    """Return in a few words why a window's maps are not to be believed, or nothing."""
    checks = checks_of(study, explanation)
    names = [_name(check) for check in checks if check.verdict == "fail"]
    return f"Not reliable: {', '.join(names) or 'Completeness'}" if _reasons(explanation, window, checks) else ""


def map_name(explanation: Explanation) -> str:
    """Return what a map answers and by which method, in a few words."""
    why = explanation.target + (f" rather than {explanation.against}" if explanation.against else "")
    return f"{theme.label(explanation.stage)}, why {why}: {method_words(explanation.method, explanation.baseline)}"


def method_words(method: str, baseline: str) -> str:
    """Return the name of a method, with what it starts from if it starts from anything."""
    kind = METHODS.get(method)
    name = kind.title if kind else method.replace("_", " ")
    return name if baseline == NONE else f"{name}, {baseline or 'mean'}"


def _offer(study: StudyDir, run: RunDir) -> None:
    """Show the button that checks the run itself; the page then shows :func:`show_task`."""
    if st.button(
        "Check this run",
        on_click=tasks.start,
        args=(_command(study, run), f"Check the maps of {run.name}", study.name),
        help="Once for all of its maps: do they depend on what the run has learned? Compares maps of other weights.",
        key=f"{PAGE}_check_run",
    ):
        st.rerun()


def show_task(study: StudyDir, run: RunDir) -> None:
    """Show the task that checks the run itself until its checks are there; called outside of fragments."""
    with widgets.show_errors():
        checked = cached_explanations.run_checks(run)
    if not checked:
        tasks.panel(checkpoints_root(), study.name, _command(study, run), key=f"{PAGE}_task_run")


def _command(study: StudyDir, run: RunDir) -> list[str]:
    return ["receipts", study.name, f"--run={run.name}"]


def receipt_table(checks: tuple[Check, ...]) -> pd.DataFrame:
    """Return a row per check, the worst verdicts first."""
    order = ["fail", "doubtful", "pass", "not run"]
    rows = [
        {
            "Check": markdown(f"{_name(check)}: {asks}" if (asks := _asks(check)) else _name(check)),
            "Verdict": _SYMBOLS[check.verdict],
            "Value": "" if check.value is None else f"{check.value:.3g}",
            "Threshold": "" if check.threshold is None else f"{check.threshold:.3g}",
            "Reason": markdown(check.reason),
        }
        for check in sorted(checks, key=lambda check: order.index(check.verdict))
    ]
    return pd.DataFrame(rows)


def missed_sentence(checks: tuple[Check, ...]) -> str:
    """Return what single checks cannot tell from a good map, so that one pass is not taken for all."""
    told: dict[str, list[str]] = {}
    for check in checks:
        if (kind := CHECKS.get(check.name)) and kind.misses and check.verdict != "not run":
            told.setdefault(kind.misses, []).append(kind.label)
    found = "; ".join(f"{' and '.join(names)}: {misses}" for misses, names in told.items())
    return f"What single checks cannot see. {found}." if found else ""


def baseline_sentence(explanation: Explanation, window: int) -> str:
    """Return what the baseline itself looks like to the model: the class that it decides on there, and how surely."""
    said = []
    kind = METHODS.get(explanation.method)
    if kind is not None and not kind.attribution:
        what = f"where encoders look, not what supports {explanation.target}"
        return f"{kind.label} is not an attribution: it shows {what}."
    for stage, values in sorted(explanation.baseline_probabilities.items(), key=lambda s: s[0] != explanation.stage):
        row = values[window]
        if row.size and row.max() == row.max():  # a stage without a recording has no numbers
            said.append(f"{theme.label(stage)} {explanation.classes[int(row.argmax())]} ({theme.percent(row.max())})")
    if not said:
        return ""
    what = f"{explanation.target} rather than {explanation.against}" if explanation.against else explanation.target
    return (
        f"The maps show why {what}, compared with the baseline ({BASELINES.get(explanation.baseline, '')}). "
        f"Decisions at the baseline: {', '.join(said)}."
    )


BASELINES = {
    "mean": "the mean input",
    "training": "training windows",
    "mixed": "the mean input or training windows, by modality",
}


def nothing_sentence(explanation: Explanation, window: int) -> str:
    """Return why a window has no maps."""
    gap = explanation.receipts.completeness[window]
    value = gap.get("explained", abs(gap.get("output", 0.0) - gap.get("baseline", 0.0)))
    return (
        f"Nothing to explain in this window: {explanation.target} has almost the same {explanation.unit} as at the "
        f"baseline (difference {value:.2g}, less than 0.1). Choose another class, baseline or window."
    )


def facts(explanation: Explanation, window: int) -> list[str]:
    """Return how an explanation was computed, its completeness in this window, and whether it repeats the test."""
    receipts = explanation.receipts
    kind = METHODS.get(explanation.method)
    lines = [f"{kind.title} ({kind.source}), in {explanation.unit}."] if kind else []
    if receipts.completeness:
        gap = receipts.completeness[window]
        promise = (
            "0 if the attributions add up exactly" if kind is None or kind.complete else "this method promises none"
        )
        steps = f", {receipts.steps} steps" if receipts.steps else ""
        lines.append(
            f"Completeness gap of this window: {gap['gap']:.3g} {short_unit(explanation)} "
            f"({100 * gap['relative_gap']:.2g} % of the explained difference; {promise}){steps}, for {receipts.target}."
        )
    if receipts.baselines:
        lines.append("Baselines: " + ", ".join(f"{theme.label(m)} {t}" for m, t in receipts.baselines.items()) + ".")
    if receipts.training_windows:
        lines.append(f"Training windows (subject/trial/window): {', '.join(receipts.training_windows)}.")
    if receipts.scaled_as_others:
        named = ", ".join(map(theme.label, receipts.scaled_as_others))
        lines.append(f"Scaled by the statistics of the people trained on, as there are none of this person: {named}.")
    if receipts.reproduction is not None:
        lines.append(f"Largest difference from the test's probabilities: {receipts.reproduction:.2g}.")
    return lines


def short_unit(explanation: Explanation) -> str:
    """Return the unit of the attributions in a word, for colour bars."""
    kind = METHODS.get(explanation.method)
    if kind is not None and not kind.attribution:
        return "share"
    unit = "logits" if "logit" in explanation.unit else "log-prob."
    return unit if kind is None or kind.signed else f"{unit} per unit"


def _reasons(explanation: Explanation, window: int, checks: tuple[Check, ...]) -> list[str]:
    if worst(checks) == "fail":
        return [f"{_name(check)}: {check.reason}" for check in checks if check.verdict == "fail"]
    kind, gaps = METHODS.get(explanation.method), explanation.receipts.completeness
    complete = kind is None or kind.complete
    if complete and not explanation.receipts.checks and gaps and gaps[window]["relative_gap"] > LARGE_GAP:
        return ["they do not add up to the decision. Compute them again, with more steps."]
    return []


def _summary(checks: tuple[Check, ...]) -> str:
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in _SYMBOLS}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"Receipts: {told}" if told else "Receipts: no check was made"


def _name(check: Check) -> str:
    kind = CHECKS.get(check.name)
    return kind.label if kind else check.name


def _asks(check: Check) -> str:
    kind = CHECKS.get(check.name)
    return kind.asks if kind else ""
