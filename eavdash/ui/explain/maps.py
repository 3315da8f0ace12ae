"""The page Average maps' widgets: what the maps of each class have in common, and which trials are unlike the others.

In: a study with explained trials. Out: the mean maps that ``eavdash maps`` keeps with the study
(:mod:`eavdash.explain.maps`), their tests, and lists of trials that open the page One trial. What is missing is
computed by tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.config.choices import STAGES
from eavdash.errors import IntegrityError
from eavdash.report import theme
from eavdash.report.figures import study_maps as figures
from eavdash.results.decision import first_decisions
from eavdash.store import StudyDir, checkpoints_root
from eavdash.text import markdown, natural_order, plural
from eavdash.ui import cached_maps, choosing, tasks, widgets
from eavdash.ui.explain.choose_trial import label_word
from eavdash.ui.explain.question import method_names, stage_name
from eavdash.ui.explain.trial_list import trial_list

if TYPE_CHECKING:
    from eavdash.explain.maps.record import StudyMaps

PAGE = "explain_maps"
NAMES = ("of", "method", "view", "by", "shown", "outcome", "label", "part", "unlike", "decided")  # in the address
PER_PAGE = 12  # maps of subjects at once
LISTED = 8  # trials in a list
_NORMALISED = (
    "Red supports the explained class, which is the decided one; blue opposes it.{framed} A trial's map is the mean "
    "over its windows, divided by the sum of its magnitudes: every trial weighs the same, and a cell is a signed share "
    "of what the modality contributes. Means give every subject one vote."
)
_CROP = (
    "Faces: the crop follows the detected face, so that eyes and mouth are in about the same place in every picture; "
    "it is not warped by landmarks. Behind the maps is the mean crop."
)
_UNLIKE = {
    "typical": "Most like the others",
    "unlike": "Least like the others",
    "surprising": "Most surprising decisions",
}
_UNLIKE_NOTES = {
    "typical": "Smallest distance to the mean map of the other trials of the class",
    "unlike": "Largest distance to the mean map of the other trials of the class",
    "surprising": "Smallest probability of the label",
}
_DISTANCE = (
    "Distance: 1 - cosine; 0 is the same pattern, 1 unrelated, 2 the opposite. Surprise: -log2 of the probability of "
    "the label, in bits. Select a row to open the trial."
)

_choose = partial(choosing.choose, PAGE)


class Asked(NamedTuple):
    """The maps that are asked for."""

    stage: str
    method: str
    baseline: str
    trials: int  # test trials of the stage

    @property
    def options(self) -> list[str]:
        """Options of the commands that make them."""
        return [f"--stage={self.stage}", f"--method={self.method}", f"--baseline={self.baseline}"]


def ask(trials: pd.DataFrame) -> Asked:
    """Show the choice of whose decisions and which method; return it."""
    there = set(trials["stage"])
    stages = [stage for stage in reversed(STAGES) if stage in there]
    methods = method_names(attributions=True)
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    stage = _choose(left, "Whose decisions", stages, "of", stage_name)
    method, _, baseline = _choose(right, "Method", list(methods), "method", methods.__getitem__).partition("-")
    return Asked(stage, method, baseline, len(first_decisions(trials, stage)))


def read(study: StudyDir, asked: Asked) -> StudyMaps | None:
    """Return the stored maps, or None; show why they cannot be used."""
    try:
        return cached_maps.maps(study, *asked[:3])
    except IntegrityError as error:
        widgets.show_error(error, PAGE)
        return None


def offer(study: StudyDir, asked: Asked, found: StudyMaps | None) -> None:
    """Show how much is explained and averaged, and the buttons and tasks for the rest."""
    explained = cached_maps.explained(study, *asked[:3])
    explain = ["explain", study.name, "--trials", "all", *asked.options]
    average = ["maps", study.name, *asked.options]
    used = len(found.trials) + sum(found.document.left_out.values()) if found else 0
    said = f"{explained:,} of {plural(asked.trials, 'test trial')} are explained by this method"
    if found is None:
        st.info(f"{said}; they are not averaged yet." if explained else f"No average maps yet: {said}.")
    elif used != explained:
        st.info(f"{said}; the maps below average {len(found.trials):,}.")
    else:
        st.caption(f"{said}.")
    with st.container(horizontal=True):
        if explained and (found is None or used != explained):
            args = (average, f"Average the maps of {study.name}", study.name)
            st.button("Average the maps", type="primary", on_click=tasks.start, args=args, key=f"{PAGE}_average")
        if explained < asked.trials:
            args = (explain, f"Explain all test trials of {study.name}", study.name)
            st.button(
                f"Explain the {asked.trials - explained:,} missing trials",
                on_click=tasks.start,
                args=args,
                help="Computes maps and their receipts in the background; stored ones stay. With full-size encoders it "
                "can take long.",
                key=f"{PAGE}_explain",
            )
    for name, command in (("average", average), ("explain", explain)):
        tasks.panel(checkpoints_root(), study.name, command, key=f"{PAGE}_task_{name}")
    for reason, count in (found.document.left_out if found else {}).items():
        st.warning(markdown(f"Left out: {plural(count, 'map')} ({reason})."))


def show(found: StudyMaps) -> None:
    """Show the answer, the maps, the tests and the trials of a study's mean maps."""
    views = list(found.document.views)
    word = label_word(found.document.classes)
    view = choosing.segments("Recording", views, f"{PAGE}_view", lambda name: figures.title(found, name))
    modality = figures.modality_of(view)
    tests = [each for each in found.document.tests if each.view == view]
    st.subheader(f"Does the map of one {word} differ from the others?", anchor=False)
    for sentence in figures.answer(found, view):
        st.markdown(f"- {markdown(sentence)}")
    adds, size = found.document.sums.get(modality, 0.0), found.document.sizes.get(modality, 0.0)
    subjects = plural(len(found.document.subjects), "subject")
    st.caption(
        markdown(
            f"{figures.test_note(tests)} {theme.label(modality)} adds {adds:+.2f} {found.document.unit} to a decision "
            f"on average, from cells of magnitude {size:.2f}; maps of a modality that adds little show noise. "
            f"n = {plural(len(found.trials), 'trial')} of {subjects}."
        )
    )
    _grid(found, view, word)
    with st.expander("Tests as a table", key=f"{PAGE}_tests"):
        st.dataframe(_test_table(found), hide_index=True, key=f"{PAGE}_test_table")
    _unlike(found, view, word)


def _grid(found: StudyMaps, view: str, word: str) -> None:
    """Show the maps side by side, on one scale."""
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    groups = {"label": word.capitalize(), "outcome": "Right or wrong", "subject": "Subject"}
    by = choosing.segments("A map per", list(groups), f"{PAGE}_by", groups.__getitem__, container=left)
    panels: dict[str, tuple[np.ndarray, str]] = {}
    frames: dict[str, np.ndarray] = {}
    if by == "label":
        shown = choosing.segments("Show", ["mean", "difference"], f"{PAGE}_shown", str.capitalize, container=middle)
        if shown == "difference":
            for name in found.document.classes:
                values, n = found.difference(view, name)
                panels[name] = values, f"{name} less the others, {plural(n, 'subject')}"
                frames[name] = figures.significant(found, view, name)
        else:
            which = choosing.segments(
                "Decisions", ["all", "right", "wrong"], f"{PAGE}_outcome", str.capitalize, container=right
            )
            correct = {"all": None, "right": True, "wrong": False}[which]
            for name in found.document.classes:
                values, n = found.mean(view, name, correct=correct)
                panels[name] = values, f"{name}, n = {n}"
                frames[name] = figures.significant(found, view, name) & (correct is None)
    else:
        label = _choose(middle, word.capitalize(), found.document.classes, "label", index=None, placeholder="All") or ""
        if by == "outcome":
            for name, correct in (("Right", True), ("Wrong", False)):
                values, n = found.mean(view, label, correct=correct)
                panels[name] = values, f"{name}, n = {n}"
        else:
            for name in _some_subjects(found.document.subjects, right):
                values, n = found.mean(view, label, name)
                panels[name] = values, f"Subject {name}, n = {n}"
    full = figures.limit([values for values, _ in panels.values()])
    width = 300 if view == "eeg" else 270
    with st.container(horizontal=True, key=f"{PAGE}_grid"):
        for number, (name, (values, head)) in enumerate(panels.items()):
            with st.container(width=width):
                st.markdown(f"**{markdown(head)}**")
                if np.isfinite(values).any():
                    chart = figures.draw(found, view, values, full, frames.get(name))
                    alt = f"Mean map, {figures.title(found, view)}: {head}."
                    widgets.chart(chart, f"{PAGE}_map_{number}", alt)
                else:
                    st.caption("No such trial is explained.")
    framed = " Framed cells differ from the other classes, p < 0.05." if any(f.any() for f in frames.values()) else ""
    crop = f" {_CROP}" if view == "vision" and found.face.size else ""
    widgets.note(_NORMALISED.format(framed=framed) + crop, 2 if framed else 1)


def _some_subjects(subjects: Sequence[str], container: Any) -> Sequence[str]:
    """Show which part of many subjects is drawn; return it."""
    if len(subjects) <= PER_PAGE:
        return subjects
    parts = {str(n): subjects[n : n + PER_PAGE] for n in range(0, len(subjects), PER_PAGE)}
    part = _choose(container, "Subjects", list(parts), "part", lambda n: f"{parts[n][0]} to {parts[n][-1]}")
    return parts[part]


def _unlike(found: StudyMaps, view: str, word: str) -> None:
    """Show the trials that are most and least like the others of their class."""
    st.subheader("Typical and surprising trials", anchor=False)
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    kind = choosing.segments("Trials", list(_UNLIKE), f"{PAGE}_unlike", _UNLIKE.__getitem__, container=left)
    table = found.table
    decided = natural_order(table["predicted"].tolist())
    label = _choose(right, f"Decided {word}", decided, "decided", index=None, placeholder="All")
    table = table[table["predicted"] == label] if label else table
    column = "surprise" if kind == "surprising" else f"distance_{view}"
    rows = table.dropna(subset=[column]).sort_values(column, ascending=kind == "typical", kind="stable").head(LISTED)
    st.caption(f"{_UNLIKE_NOTES[kind]}{'' if kind == 'surprising' else ', in the recording chosen above'}. {_DISTANCE}")
    if rows.empty:
        st.info("Too few explained trials of one class: a map cannot be compared with the others.")
        return
    shown = rows[["subject", "trial", "label", "predicted", "p_label", "surprise"]].assign(
        distance=rows[f"distance_{view}"], all=rows["distance_all"]
    )
    trial_list(shown, f"{PAGE}_trials_{kind}")


def _test_table(found: StudyMaps) -> pd.DataFrame:
    rows = [
        {
            "recording": figures.title(found, each.view),
            "class": each.label,
            "subjects": each.subjects,
            "maps": each.trials,
            "exchanged": each.exchanged or "–",
            "cells that differ": each.cells,
            "smallest p, corrected": each.p,
            "remark": each.too_few,
        }
        for each in found.document.tests
    ]
    return pd.DataFrame(rows)
