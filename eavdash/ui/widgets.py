"""Pieces that several pages are put together from: the study picker, page heads, notices, states.

Nothing here computes; tables come from the ``cached_*`` modules, figures from ``eavdash.ui.figures``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from eavdash.errors import EavdashError
from eavdash.results import marks
from eavdash.results.statistics import too_few
from eavdash.store import StudyDir, checkpoints_root, datasets, studies
from eavdash.ui import actions, cached_runs, theme
from eavdash.ui.figures import training
from eavdash.ui.figures.results import clicked_subject

SIMULATED = "Simulated recordings: no person was recorded, and no conclusion about people follows from these numbers."
LEVEL_HELP = (
    "Trial: the mean of the windows' log-probabilities decides. Window: each stretch on its own. Frame: each picture "
    "on its own, only for stages that score frames. All from the same predictions."
)
STUCK = "*See the runs* says why: mend the cause and press Retry there."
CHECK_AT_ONCE = 1000  # files that the health page opens without asking
LAUNCH, MONITOR, EXPLAIN = "pages/training/launch.py", "pages/training/monitor.py", "pages/explain/trial.py"


def study_picker(root: Path) -> None:
    """The picker of the sidebar. The choice is part of the address, so a link shows the same study to everybody."""
    every = studies(root)
    # One that was put away is there for whoever asks for it by its name.
    asked = (st.session_state.get("study"), st.query_params.get("study"))
    names = [s.name for s in every if s.name in asked or not s.archived]
    if not names:
        what = f"All {len(every)} studies are archived" if every else "No study yet"
        st.sidebar.caption(f"{what} in {escape_markdown(root)}.")
        return
    if not set(asked) & set(names):
        if lost := st.query_params.get("study"):
            st.sidebar.warning(f"There is no study {escape_markdown(lost)} in {escape_markdown(root)}; this is the newest.")
        newest = max(names, key=lambda n: StudyDir(root / n).study_file.stat().st_mtime)
        st.session_state["study"] = newest
    # index=None keeps the name in the address even when it is the first of the list.
    st.sidebar.selectbox("Study", names, index=None, key="study", bind="query-params", placeholder="Choose a study")


def current_study() -> StudyDir | None:
    """The study of the picker, if there is one."""
    name = st.session_state.get("study")
    study = StudyDir(checkpoints_root() / name) if name else None
    return study if study is not None and study.exists else None


def current_dataset() -> str:
    """The dataset of the current study, or an empty text."""
    study = current_study()
    with show_errors():
        return str(study.study()["dataset"]["path"]) if study else ""


def dataset_input(key: str, place: Any = st) -> str:
    """The field for a dataset: one of the list, the current study's, or a path that is typed; its path.

    Empty while there is none. What is chosen or typed stays while other pages are shown.
    """
    current = current_dataset()
    listed = {}
    try:
        listed = {d.path: d.name for d in datasets.known(checkpoints_root())}
    except EavdashError as error:  # a damaged list is no reason not to type a path
        st.error(escape_markdown(error))
    chosen = str(st.session_state.get(key) or "").strip()
    # A name may be typed as well; a path that was typed is an option from then on, as the widget wants it.
    chosen = {name: path for path, name in listed.items()}.get(chosen, chosen)
    st.session_state[key] = chosen or None
    options = list(dict.fromkeys([*listed, *filter(None, [current, chosen])]))
    titles = {path: f"{name} · {path}" for path, name in listed.items()}
    place.selectbox(
        "Dataset",
        options,
        index=None,
        format_func=lambda path: titles.get(path, path),
        placeholder=titles.get(current, current) or "/data/EAV",
        help="One of the list (kept on the page Health), a dataset's folder (EAV at any level) or a trial table "
        "(trials.csv). Empty: that of the current study.",
        accept_new_options=True,
        filter_mode="contains",
        key=key,
        persist_state="session",
    )
    return chosen or current


def require_dataset(path: str) -> None:
    """Explain what to type, and end the page, while no dataset is named."""
    if not path:
        st.info(
            "Name the folder of a dataset, or a trial table. `eavdash make-demo DIR` makes simulated recordings to try."
        )
        st.stop()


def page_head(title: str, question: str) -> None:
    """A page's title and the question that it answers."""
    st.title(title, anchor=False)
    st.caption(question)


def study_page(title: str, question: str) -> tuple[StudyDir, dict[str, Any]]:
    """The head of a page about the current study, its notices, and the study; without one, what to do first."""
    page_head(title, question)
    study = current_study()
    if study is None:
        st.info("There is no study yet. Train one first, or run `make demo` for a study with simulated recordings.")
        st.page_link(LAUNCH, label="Set up a study")
        st.stop()
    assert study is not None  # st.stop() has ended the script, which the type checker cannot know
    with show_errors():
        document = study.study()
    simulated_banner(bool(document["dataset"].get("simulated")))
    with show_errors():
        marked = marks.marks(document)
    for number, mark in enumerate(marked):
        with st.expander(f"**{mark.text}**", key=f"parts_mark_{number}"):
            bullet_list(mark.why)
    return study, document


def open_page(page: str) -> None:
    """Open another page and keep the study in the address."""
    # Without a mapping Streamlit clears the address first, which it refuses while a widget is bound to it.
    st.switch_page(page, query_params={})


def simulated_banner(simulated: bool) -> None:
    """The banner wherever numbers or signals come from simulated recordings."""
    if simulated:
        st.warning(SIMULATED)


@contextmanager
def show_errors() -> Iterator[None]:
    """Errors that a user can act on are shown as their sentence, and the page ends there."""
    try:
        yield
    except EavdashError as error:
        st.error(escape_markdown(error))
        st.stop()


def show_problems(frame: pd.DataFrame) -> None:
    """The sentences about damaged files that a table carries."""
    for problem in frame.attrs.get("problems", []):
        st.error(escape_markdown(problem))


def require_results(study: StudyDir, table: pd.DataFrame) -> None:
    """Says how far the study is, and what has to happen for more; ends the page while there is nothing to show."""
    show_problems(table)
    states = cached_runs.snapshot(study)
    unfinished = states[states["shown"] != "done"]
    if len(unfinished):
        line = training.tally(states)
        waiting = unfinished[~unfinished["ended"]]
        if len(table):
            st.info(f"Not all runs are done, and only finished ones are shown. {line}.")
        elif waiting.empty:
            st.error(f"No run of this study has finished, and none goes on by itself. {line}. {STUCK}")
        elif study.paused and set(waiting["shown"]) <= {"queued", "blocked"}:
            st.info(f"This study is paused: results appear here once it is resumed and a run is done. {line}.")
        else:
            st.info(f"Results appear here as soon as the first run is done. {line}.")
        st.page_link(MONITOR, label="See the runs")
    if table.empty:
        if not len(unfinished):
            st.info("There is nothing to show: no test prediction was found.")
        st.stop()


def sample_size_note(scores: pd.DataFrame) -> None:
    """Says so when there are too few trials or subjects to conclude anything; ``scores`` at level trial."""
    reasons = [too_few(trials=int(scores["n"].min())), too_few(subjects=int(scores["subject"].nunique()))]
    for reason in filter(None, reasons):
        st.caption(escape_markdown(reason))


def show_message() -> None:
    """What the last button did, once."""
    kind, text = st.session_state.pop(actions.MESSAGE, ("", ""))
    if kind == "error":
        st.error(escape_markdown(text))
        st.toast(escape_markdown(text), duration="long")  # the button may be a screen below
    elif kind:
        st.success(escape_markdown(text))


def chart(figure: go.Figure, key: str, alt: str, **options: Any) -> Any:
    """A Plotly figure in the app's manner; ``alt`` says in words what it shows."""
    return st.plotly_chart(figure, key=key, alt=alt, width="stretch", config=theme.CHART_CONFIG, **options)


def selected_points(event: Any) -> list[dict[str, Any]]:
    """The points of a chart's selection."""
    return list(event["selection"]["points"]) if event and "selection" in event else []


def select_clicked_subject(chart_key: str, widget_key: str) -> None:
    """Callback of a chart's selection: the clicked subject becomes the value of a selectbox."""
    subject = clicked_subject(selected_points(st.session_state.get(chart_key)))
    if subject is not None:
        st.session_state[widget_key] = subject


def selected_rows(event: Any) -> list[int]:
    """The rows of a table's selection."""
    return list(event["selection"].get("rows", [])) if event and "selection" in event else []


def remember(key: str) -> None:
    """Callback: remember that something was asked for."""
    st.session_state[key] = True


def absent(error: str | None) -> None:
    """In the place of a recording that is not there: that it was not recorded, or why it cannot be read."""
    if error:
        st.error(escape_markdown(error))
    else:
        st.caption("Not recorded in this trial.")


def escape_markdown(text: object) -> str:
    """Text without meaning as markdown: a path's underscores, stars and dollars stay what they are."""
    sendable = str(text).encode("utf-8", "replace").decode("utf-8")  # names of files need not be UTF-8
    return re.sub(r"([\\`*_{}\[\]<>#$|~:])", r"\\\1", sendable)


def bullet_list(lines: Sequence[str]) -> None:
    """A list of plain sentences."""
    st.markdown("\n".join(f"- {escape_markdown(line)}" for line in lines))
