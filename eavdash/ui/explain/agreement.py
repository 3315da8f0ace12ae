"""The page Attention's widgets: which modality the decisions rest on, by attention, Shapley values and attributions.

In: a study and the shares of its fused decisions (:mod:`eavdash.ui.cached_agreement`). What is missing can be computed
by tasks, whose progress is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from eavdash.config.choices import MODALITIES
from eavdash.report import theme
from eavdash.report.figures import agreement as figures
from eavdash.report.figures import agreement_words as words
from eavdash.results import agreement
from eavdash.store import StudyDir, checkpoints_root
from eavdash.text import markdown, natural_order, plural
from eavdash.ui import actions, address, cached_agreement, choosing, tasks, widgets
from eavdash.ui.cached_agreement import Compared
from eavdash.ui.explain.choose_trial import label_word

PAGE = "explain_attention"
GROUPS = ("subject", "label", "outcome", "confidence")
#: Of the widgets of the page, also in the address.
NAMES = ("pair", "by", "sort", "subject", "heads_subject", "heads_label", "heads_outcome", "layer")
MANY = 6  # subjects from which on their order can be chosen
NOTHING = "The Shapley values of the modalities, which need no attention, are computed from the finished fusion runs."


def show_answer(found: Compared, kind: str) -> None:
    """Show the mean shares and what follows from them; ``kind``: of fusion."""
    means = agreement.mean_shares(found.table)
    shares = words.by_measure(means)
    valued = found.table[found.table[[f"shapley_{m}" for m in MODALITIES]].notna().any(axis=1)]
    said = words.answer(agreement.mean_shares(valued), agreement.mean_shares(valued, "subject"), kind)
    for number, sentence in enumerate(said):
        st.markdown(sentence if number else f"**{sentence}**")
    names = [m for m in MODALITIES if m in set(means["modality"])]
    for column, modality in zip(st.columns(max(len(names), 1)), names, strict=False):
        values = {m: of[modality] for m, of in shares.items() if modality in of}
        first = next(iter(values))
        title = f"{theme.label(modality)}, {words.MEASURE_LABELS[first]}"
        column.metric(title, theme.percent(values[first]), border=True)
        others = [f"{words.MEASURE_LABELS[m]} {theme.percent(v)}" for m, v in values.items() if m != first]
        column.caption(" · ".join(others))
    counts = means.drop_duplicates("measure")
    n = ", ".join(f"{words.MEASURE_LABELS[m]} n = {c}" for m, c in zip(counts["measure"], counts["n"], strict=True))
    detail = f" {theme.SHARES}" if "attention" in shares else ""
    if len(shares) > ("attention" in shares):
        made = f" Attributions: {found.method.replace('_', ' ')}, baseline {found.baseline}." if found.method else ""
        detail += f" {words.SHARES_NOTE}{made}"
    if n:
        widgets.note(f"Mean shares over decisions on test trials ({n}).{detail}")
    if sentence := words.additive_sentence(found.additive):
        st.caption(sentence)


def offer_missing(study: StudyDir, found: Compared) -> None:
    """Show damaged files, and buttons for what is not computed yet."""
    for problem in found.problems:
        st.error(markdown(problem))
    if found.without:
        names = ", ".join(found.without[:3]) + (f" and {len(found.without) - 3} more" * (len(found.without) > 3))
        st.info(markdown(f"Without Shapley values: {names}. {NOTHING}"))
        _button(study, "Compute Shapley values", "shapley", type="primary")
        tasks.panel(checkpoints_root(), study.name, _command(study, "shapley"), key=f"{PAGE}_shapley_task")
    explained = int(found.table[[f"attribution_{m}" for m in MODALITIES]].notna().any(axis=1).sum())
    if explained < len(found.table):
        with st.container(horizontal=True, vertical_alignment="center"):
            count = f"{explained:,} of {plural(len(found.table), 'decision')} have attributions."
            st.caption(f"{count} Computing them for all test trials can take long.", width="content")
            _button(study, "Explain all test trials", "explain")
        tasks.panel(checkpoints_root(), study.name, _command(study, "explain"), key=f"{PAGE}_explain_task")


def show_agreement(study: StudyDir, found: Compared) -> tuple[str, str] | None:
    """Show how far two measures agree, and return them: rank correlations with intervals, a point per decision."""
    known = agreement.measures(found.table)
    pairs = {words.pair_label(a, b): (a, b) for i, a in enumerate(known) for b in known[i + 1 :]}
    if not pairs:
        return None
    st.subheader("Agreement", anchor=False)
    first, second = pairs[choosing.segments("Compare", list(pairs), f"{PAGE}_pair")]
    table = cached_agreement.agreements(study, first, second)
    left, right = st.columns(2)
    with left:
        if table.empty:
            st.info("Too few decisions, or shares that do not vary: there is no rank correlation.")
        else:
            alt = f"Rank correlations of {words.pair_label(first, second)}."
            widgets.chart(figures.agreement_intervals(table), f"{PAGE}_intervals", alt)
            st.caption(f"{words.AGREEMENT_NOTE} {words.resampled_note(table)}")
            with st.expander("As a table", key=f"{PAGE}_agreement_detail"):
                st.dataframe(words.agreement_table(table), hide_index=True, key=f"{PAGE}_agreement")
    with right:
        _scatter(found.table, first, second)
    return first, second


def show_groups(study: StudyDir, found: Compared, pair: tuple[str, str] | None) -> None:
    """Show mean shares by subject, label, outcome or confidence, and the agreement of ``pair`` in each group."""
    if not agreement.measures(found.table):
        return
    st.subheader("Shares by", anchor=False)
    titles = group_titles(natural_order(found.table["label"]))
    by = choosing.segments("Group", GROUPS, f"{PAGE}_by", titles.__getitem__, label_visibility="collapsed")
    means = agreement.mean_shares(found.table, by)
    sort = ""
    if by == "subject" and means["group"].nunique() >= MANY:
        names = [m for m in MODALITIES if m in set(means["modality"])]
        both = {"attention", "shapley"} <= set(means["measure"])
        options = ["", *names, *(["difference"] if both else [])]
        named = {"": "subject", "difference": "difference of attention and Shapley"}
        address.valid(f"{PAGE}_sort", options, "")
        sort = st.selectbox("Sort by", options, format_func=lambda o: named.get(o, theme.label(o)), key=f"{PAGE}_sort")
    order = figures.group_order(means, by, sort)
    alt = f"Mean share of each modality per {titles[by].lower()}, by each measure."
    widgets.chart(figures.share_dots(means, order), f"{PAGE}_shares", alt)
    if len(counts := means["n"].drop_duplicates()) == 1:
        st.caption(f"n = {counts.item()} decisions in each.")
    if pair and by != "subject":
        table = cached_agreement.orders_by(study, by, *pair)
        table = table.set_index("group").loc[[g for g in order if g in set(table["group"])]].reset_index()
        st.caption(
            f"{words.QUESTIONS['order']}, {words.pair_label(*pair)}, per {titles[by].lower()}. "
            f"{words.resampled_note(table)}"
        )
        st.dataframe(words.agreement_table(table), hide_index=True, key=f"{PAGE}_orders")


def group_titles(labels: Sequence[str]) -> dict[str, str]:
    """Return the titles of the groups; what the labels are is said by :func:`label_word`."""
    words = ("Subject", label_word(labels).capitalize(), "Right or wrong", "Confidence")
    return dict(zip(GROUPS, words, strict=True))


def _scatter(table: pd.DataFrame, first: str, second: str) -> None:
    """Show the decisions; a click opens the trial's page."""
    subjects = natural_order(table["subject"])
    address.valid(f"{PAGE}_subject", subjects)
    subject = st.selectbox("Subject", subjects, index=None, placeholder="All subjects", key=f"{PAGE}_subject")
    rows = table[table["subject"] == subject] if subject else table
    alt = f"A point per decision and modality: {first} share against {second} share."
    event = widgets.chart(
        figures.share_scatter(rows, first, second),
        f"{PAGE}_scatter",
        alt,
        on_select="rerun",
        selection_mode="points",
    )
    note = f"Of {plural(len(rows), 'decision')}, {figures.DRAWN:,} are drawn. " if len(rows) > figures.DRAWN else ""
    st.caption(
        f"{note}A point per decision and modality; on the line both shares are equal. Click one to open its trial."
    )
    for point in widgets.selected_points(event)[:1]:
        st.session_state[actions.TARGET] = tuple(point["customdata"][:2])
        widgets.open_page(widgets.EXPLAIN)


def _button(study: StudyDir, title: str, name: str, **more: Any) -> None:
    """Show the button that starts the task ``name``."""
    args = (_command(study, name), title, study.name)
    st.button(title, on_click=tasks.start, args=args, key=f"{PAGE}_{name}", **more)


def _command(study: StudyDir, name: str) -> list[str]:
    """Return the command that computes what is missing."""
    return [name, study.name, *(["--trials", "all"] if name == "explain" else [])]
