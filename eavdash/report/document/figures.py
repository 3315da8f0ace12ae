"""The figures of a report, by name: those of the pages, with a title and a sentence of caption.

In: a :class:`~eavdash.report.document.contents.Contents`. Out: named figures; those that need more than was run are
left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.document.contents import Contents
from eavdash.report.figures import agreement as shares
from eavdash.report.figures import comparisons, plain, results, subject_views
from eavdash.report.figures.baselines import baseline_means, means_note
from eavdash.report.figures.subjects import MOST_SUBJECTS, subject_bars
from eavdash.results import agreement, tables
from eavdash.text import natural_order


@dataclass(frozen=True, eq=False)
class NamedFigure:
    """``name``: of its files. ``section``: of the report, ``accuracy``, ``statistics`` or ``attention``."""

    name: str
    section: str
    title: str
    caption: str
    figure: go.Figure


def figures_of(found: Contents) -> list[NamedFigure]:
    """Return the figures for which there are results, with their texts escaped as those of pages are."""
    if found.own.empty:
        return []
    figures = [*_accuracy(found), *_statistics(found), *_attention(found)]
    for each in figures:
        plain.escape(each.figure)
    return figures


def _accuracy(found: Contents) -> Iterator[NamedFigure]:
    own = found.own
    subjects = natural_order(own["subject"])
    if len(subjects) > MOST_SUBJECTS:
        drawn, caption = (
            subject_views.strips(own, "accuracy"),
            "A point per subject; diamonds: means with 95 % intervals.",
        )
    else:
        independent = found.independent[found.independent["stage"].isin(own["stage"])]
        drawn = subject_bars(own, independent, len(found.document.classes), found.majority, time_only=found.time_only)
        caption = results.legend_note("trial", own)
    yield NamedFigure("subjects", "accuracy", "Accuracy per subject and stage", caption, drawn)
    if (found.scores["stage"].str.contains(":")).any():
        drawn, caption = baseline_means(found.scores, found.independent), means_note(found.scores)
        yield NamedFigure("baselines", "accuracy", "Stages and their baselines", caption, drawn)
    for stage in dict.fromkeys(found.trials["stage"]):
        counts = tables.confusion(found.trials[found.trials["stage"] == stage])
        caption = f"Share of each label's test trials and their number; n = {int(counts.to_numpy().sum())} decisions."
        title = f"Confusion matrix of {theme.label(stage)}, all subjects"
        yield NamedFigure(f"confusion-{stage}", "accuracy", title, caption, results.confusion_matrix(counts, stage))


def _statistics(found: Contents) -> Iterator[NamedFigure]:
    primary = found.question.primary
    if primary is None or not primary.subjects:
        return
    title = f"Fusion against {theme.label(primary.b)}, subject by subject"
    drawn = comparisons.paired_lines(found.own, "fusion", primary.b)
    yield NamedFigure("comparison", "statistics", title, "One line per subject that has both stages.", drawn)


def _attention(found: Contents) -> Iterator[NamedFigure]:
    if "fusion" not in set(found.trials["stage"]):
        return
    table = found.shares
    if not agreement.measures(table):
        return
    for by, title in (
        ("subject", "Shares of the modalities by subject"),
        ("label", "Shares of the modalities by label"),
    ):
        means = agreement.mean_shares(table, by)
        caption = "Means over test decisions. Attention: weights; Shapley: what the decision rests on."
        drawn = shares.share_dots(means, shares.group_order(means, by))
        yield NamedFigure(f"shares-{by}", "attention", title, caption, drawn)
