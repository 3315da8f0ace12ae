"""The page Compare's widgets: two studies on the same trials, and published against honest scoring.

In: the current study, and another one to choose. Out: an answer, a table, warnings and figures; the choices are in the
address.
"""

from __future__ import annotations

import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError
from eavdash.report import theme
from eavdash.report.figures import between as figures
from eavdash.report.figures import inference
from eavdash.report.figures.answer import metric_name
from eavdash.results.between import Between
from eavdash.results.marks import study_marks
from eavdash.results.metrics import METRICS
from eavdash.results.optimism import Step, remark
from eavdash.store import StudyDir, checkpoints_root, studies
from eavdash.text import markdown
from eavdash.ui import cached_statistics, choosing, widgets
from eavdash.ui.draft import kept
from eavdash.ui.results import exports
from eavdash.ui.results.choices import METRIC_HELP

PAGE = "results_compare"
NAMES = ("other", "metric", "stage")  # of the widgets, also in the address


def choose(study: StudyDir) -> StudyDir | None:
    """Show the other studies of the folder; return the chosen one, or None."""
    names = [each.name for each in studies(checkpoints_root()) if each.name != study.name]
    if not names:
        st.info(f"There is no other study in this folder to compare {markdown(study.name)} with.")
        return None
    title, empty = f"Compare {markdown(study.name)} with", "Choose another study"
    name = choosing.choose(PAGE, st, title, names, "other", index=None, placeholder=empty)
    return StudyDir(study.path.with_name(name)) if name else None


def show(study: StudyDir, other: StudyDir | None, stages: list[str]) -> None:
    """Show both studies side by side, then the steps from published to honest scoring of the first."""
    found = None
    metric = choosing.segments("Metric", [*METRICS], label=metric_name, help=METRIC_HELP, **kept(PAGE, "metric"))
    if other is not None:
        try:
            found = cached_statistics.between(study, other, metric)
        except EavdashError as error:
            widgets.show_error(error, PAGE)
    if found is not None and not found.rows:
        st.info("The two studies have no stage with a common test trial.")
    stage = choosing.segments("Stage", stages, label=theme.label, default=stages[-1], **kept(PAGE, "stage"))
    if other is not None and found is not None and found.rows:
        _side_by_side(study, other, found, stage)
    st.subheader("As published, and honestly", anchor=False)
    with widgets.show_errors():
        steps, said = cached_statistics.optimism(study, other if found is not None else None, stage), remark(study)
    _steps(steps, stage, said)


def _side_by_side(study: StudyDir, other: StudyDir, found: Between, stage: str) -> None:
    if stage in found.rows:
        (st.warning if found.why_not else st.success)(markdown(figures.answer(found, stage)))
    else:
        st.info(f"{theme.label(stage)} has no trial that both studies have tested.")
    for warning in found.warnings:
        st.warning(markdown(warning))
    if found.relabelled:
        st.warning(f"{found.relabelled} common trials have other labels in the other study and are left out.")
    st.dataframe(figures.between_table(found), hide_index=True, key=f"{PAGE}_table")
    name = f"against-{other.name}-{found.metric}"
    theirs = other.study()
    more = {
        "stage": [*found.rows],
        "metric": found.metric,
        "other_protocol": recorded_config(theirs).protocol.name,
        "other_marks": "; ".join(mark.text for mark in study_marks(theirs)),
        "other_simulated": theirs.dataset.simulated,
    }
    exports.comparisons_menu(study, [*found.rows.values()], f"{PAGE}_table", name, more)
    st.caption(
        f"{metric_name(found.metric)} on the trials that both studies have tested; the decisions of all folds and "
        "seeds on a trial share its weight. "
        "Interval: BCa bootstrap over subjects. p: sign-flip permutation test, corrected over the stages by Holm's "
        "method."
    )
    if stage not in found.rows:
        return
    c = found.rows[stage]
    widgets.chart(
        inference.scatter(found.people[stage], c.a, c.b, found.metric, float("nan"), stage),
        f"{PAGE}_scatter",
        f"A dot per subject: {METRICS[found.metric]} of {stage} in both studies.",
    )
    st.caption("A dot per subject; above the diagonal the first study is better.")


def _steps(steps: list[Step], stage: str, said: str) -> None:
    st.caption(markdown(said))
    if not steps:
        st.info(f"No finished run of {theme.label(stage)}.")
        return
    if len(steps) > 1:
        widgets.chart(
            figures.waterfall(steps, stage), f"{PAGE}_steps", "From the published way of scoring to the honest one."
        )
    st.dataframe(figures.step_table(steps), hide_index=True, key=f"{PAGE}_step_table")
    st.caption("Accuracy, mean over subjects; each change is from the row above, so that the changes add up.")
