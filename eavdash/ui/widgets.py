"""Widgets that several pages share: the study picker, page heads, messages, states.

Tables come from the ``cached_*`` modules, figures from ``eavdash.report.figures``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from eavdash.errors import EavdashError, OutsideError
from eavdash.report import theme
from eavdash.report.figures import plain, training
from eavdash.report.figures.results import clicked_subject
from eavdash.results import left_out, marks
from eavdash.results.paired import too_few_subjects
from eavdash.results.statistics import too_few
from eavdash.store import StudyDir, checkpoints_root, datasets, studies
from eavdash.store.documents import StudyDocument
from eavdash.text import markdown
from eavdash.ui import actions, allowing, cached_runs, dataset, downloads, edge
from eavdash.ui.draft import kept
from eavdash.ui.fragment import stop

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable

SIMULATED = "Simulated recordings: no person was recorded, and these numbers allow no conclusion about people."
LEVEL_HELP = (
    "Trial: one decision from the mean of the windows' log-probabilities. Window: each window separately. Frame: each "
    "frame separately, only for stages that score frames. All use the same predictions."
)
STUCK = "*See the runs* for the reason: fix it and press Retry there."
HOME, SUBJECTS, STATISTICS = "pages/home/overview.py", "pages/results/subjects.py", "pages/results/statistics.py"
LAUNCH, MONITOR, STUDIES = "pages/training/launch.py", "pages/training/monitor.py", "pages/training/studies.py"
EXPLAIN = "pages/explain/trial.py"
ADD, HEALTH, TRIALS = "pages/data/add.py", "pages/data/health.py", "pages/data/trials.py"


def study_picker(root: Path) -> None:
    """Show the study picker in the sidebar. The selection is part of the URL, so a link opens the same study."""
    every = studies(root)
    if name := st.session_state.pop(actions.NEXT, ""):
        st.session_state["study"] = name
    # An archived study is listed only while it is the selected one.
    selected = (st.session_state.get("study"), st.query_params.get("study"))
    names = [s.name for s in every if s.name in selected or s.listed]
    if not names:
        reason = f"All {len(every)} studies are archived" if every else "No study yet"
        st.sidebar.caption(f"{reason} in {markdown(root)}.")
        return
    if not set(selected) & set(names):
        if missing := st.query_params.get("study"):
            st.sidebar.warning(f"There is no study {markdown(missing)} in {markdown(root)}; this is the newest one.")
        newest = max(names, key=lambda n: StudyDir(root / n).study_file.stat().st_mtime)
        st.session_state["study"] = newest
    if (chosen := current_study()) is not None and (problem := cached_runs.study_damage(chosen)):
        st.sidebar.error(markdown(problem))
    damaged = {name for name in names if cached_runs.study_damage(StudyDir(root / name))}
    # index=None keeps the name in the URL even when it is the first of the list.
    st.sidebar.selectbox(
        "Study",
        names,
        index=None,
        format_func=lambda name: f"{name} (damaged)" if name in damaged else name,
        key="study",
        bind="query-params",
        placeholder="Choose a study",
    )


def current_study() -> StudyDir | None:
    """Return the selected study, or None."""
    name = st.session_state.get("study")
    study = StudyDir(checkpoints_root() / name) if name else None
    return study if study is not None and study.exists else None


def current_dataset() -> str:
    """Return the path of the current study's dataset, or an empty string."""
    study = current_study()
    with show_errors():
        return study.study().dataset.path if study else ""


def dataset_input(page: str, name: str, container: Any = st) -> str:
    """Show a page's field for a dataset (from the list, of the current study, or a typed path) and return its path.

    The path is empty if there is none. All pages show the dataset that was selected last on one of them.
    """
    key, current = f"{page}_{name}", current_dataset()
    dataset.fill(key)
    listed = {}
    try:
        listed = {d.path: d.name for d in datasets.list_datasets(checkpoints_root())}
    except EavdashError as error:  # a path can be typed even if the list is damaged
        st.error(markdown(error))
    chosen = str(st.session_state.get(key) or "").strip()
    # A name may be typed too; the widget requires that its value is an option.
    chosen = {name: path for path, name in listed.items()}.get(chosen, chosen)
    st.session_state[key] = chosen or None
    dataset.keep(key, chosen)
    options = list(dict.fromkeys([*listed, *filter(None, [current, chosen])]))
    titles = {path: f"{name} · {path}" for path, name in listed.items()}
    container.selectbox(
        "Dataset",
        options,
        index=None,
        format_func=lambda path: titles.get(path, path),
        placeholder=titles.get(current, current) or "/data/EAV",
        help="A dataset from the list (edited on the page Add data), a dataset folder (EAV at any level) or a trial "
        "table (trials.csv). Empty: the dataset of the current study. All pages share this choice.",
        accept_new_options=True,
        filter_mode="contains",
        **kept(page, name),
    )
    return chosen or current


def require_dataset(path: str) -> None:
    """Show a hint and end the page if no dataset is selected."""
    if not path:
        st.info("Enter the folder of a dataset or a trial table, or add your recordings to the list first.")
        st.page_link(ADD, label="Add data")
        stop()


def page_head(title: str, question: str) -> None:
    """Show a page's title and the question that it answers."""
    st.title(title, anchor=False)
    st.caption(question)


def study_page(title: str, question: str) -> tuple[StudyDir, StudyDocument]:
    """Show the head and the notices of a page about the current study; return the study and its document.

    Without a study, show the first steps and end the page.
    """
    page_head(title, question)
    study = current_study()
    if study is None:
        st.info(
            "There is no study yet. Train one first, or make the demo with simulated recordings from the home page."
        )
        with st.container(horizontal=True):
            st.page_link(HOME, label="Home")
            st.page_link(LAUNCH, label="Set up a study")
        stop()
    with show_errors():
        document = study.study()
    simulated_banner(document.dataset.simulated)
    with show_errors():
        study_marks = marks.study_marks(document, study)
    for number, mark in enumerate(study_marks):
        with st.expander(f"**{mark.text}**", key=f"parts_mark_{number}"):
            bullet_list(mark.why)
    return study, document


def open_page(page: str) -> None:
    """Open another page and keep the study in the URL."""
    # Without a mapping Streamlit clears the query parameters, which fails while a widget is bound to one of them.
    st.switch_page(page, query_params={})


def simulated_banner(simulated: bool) -> None:
    """Show a warning if the recordings are simulated."""
    if simulated:
        st.warning(SIMULATED)


@contextmanager
def show_errors() -> Iterator[None]:
    """Show errors that a user can act on, and end the page."""
    try:
        yield
    except EavdashError as error:
        show_error(error, "parts")
        stop()


def show_error(error: EavdashError, key: str, forget: str = "") -> None:
    """Show an error; if a folder may be allowed here, with the button that does it.

    ``forget``: a key of the session's state that no longer holds then.
    """
    st.error(markdown(error))
    folder = error.folder if isinstance(error, OutsideError) else ""
    if folder and edge.is_private():
        st.markdown(f"This folder is outside of those that the app may read: {markdown(folder)}")
        st.button("Allow it", on_click=allowing.allow, args=(folder, forget), key=f"{key}_allow")


def show_refused(table: TrialTable, key: str) -> None:
    """Show which recordings of a dataset may not be read, if there are any."""
    try:
        allowing.check_recordings(table)
    except OutsideError as error:
        show_error(error, key)


def show_problems(frame: pd.DataFrame) -> None:
    """Show a table's messages about damaged files and unread trials."""
    for problem in frame.attrs.get("problems", []):
        st.error(markdown(problem))
    if unread := left_out.unread_sentence(frame):
        st.warning(markdown(unread))


def require_results(study: StudyDir, table: pd.DataFrame) -> None:
    """Show the progress of an unfinished study; end the page if ``table`` has no results."""
    show_problems(table)
    states = cached_runs.snapshot(study)
    unfinished = states[states["shown"] != "done"]
    if len(unfinished):
        line = training.tally(states)
        waiting = unfinished[~unfinished["ended"]]
        if len(table):
            st.info(f"Not all runs are done; only finished ones are shown. {line}.")
        elif waiting.empty:
            st.error(f"No run of this study has finished, and none is waiting or running. {line}. {STUCK}")
        elif cached_runs.paused(study) and set(waiting["shown"]) <= {"queued", "waiting"}:
            st.info(f"This study is paused: results appear here once it is resumed and a run is done. {line}.")
        else:
            st.info(f"Results appear here as soon as the first run is done. {line}.")
        st.page_link(MONITOR, label="See the runs")
    if table.empty:
        if not len(unfinished):
            st.info("There are no test predictions to show.")
        stop()


def sample_size_note(scores: pd.DataFrame) -> None:
    """Show a note if there are too few trials or subjects for a conclusion; ``scores`` at level trial."""
    reasons = [too_few(int(scores["n"].min())), too_few_subjects(int(scores["subject"].nunique()))]
    for reason in filter(None, reasons):
        st.caption(markdown(reason))


def note(text: str, sentences: int = 1) -> None:
    """Show the first sentences of an explanation below a figure, and the others as its help."""
    every = re.split(r"(?<=\.) (?=[A-Z])", text)
    st.caption(markdown(" ".join(every[:sentences])), help=markdown(" ".join(every[sentences:])) or None)


def show_message() -> None:
    """Show the outcome of the last button once."""
    kind, text = st.session_state.pop(actions.MESSAGE, ("", ""))
    if isinstance(text, EavdashError):
        show_error(text, "message")
    elif kind == "error":
        st.error(markdown(text))
    if kind in ("error", "toast"):
        st.toast(markdown(text), duration="long")  # the button may be far below the message
    elif kind:
        st.success(markdown(text))


def chart(figure: go.Figure, key: str, alt: str, files: bool = True, **options: Any) -> Any:
    """Show a Plotly figure with the app's settings; ``alt`` is its description for screen readers.

    Every figure passes here, so that names in it are shown as they are (:mod:`eavdash.report.figures.plain`), and its
    numbers can be read as a table. ``files``: with the menu of its picture and data, which carry the caveats of the
    current study; False on pages about recordings.
    """
    event = st.plotly_chart(
        plain.escape(figure), key=key, alt=alt, width="stretch", config=theme.CHART_CONFIG, **options
    )
    downloads.figure_menu(figure, key, alt, current_study(), files)
    return event


def selected_points(event: Any) -> list[dict[str, Any]]:
    """Return the points of a chart's selection."""
    return [plain.unescape(point) for point in event["selection"]["points"]] if event and "selection" in event else []


def select_clicked_subject(chart_key: str, widget_key: str) -> None:
    """Handle a chart's selection: select the clicked subject in a selectbox."""
    subject = clicked_subject(selected_points(st.session_state.get(chart_key)))
    if subject is not None:
        st.session_state[widget_key] = subject


def selected_rows(event: Any) -> list[int]:
    """Return the rows of a table's selection."""
    return list(event["selection"].get("rows", [])) if event and "selection" in event else []


def bullet_list(lines: Sequence[str]) -> None:
    """Show a list of sentences, escaping Markdown."""
    st.markdown("\n".join(f"- {markdown(line)}" for line in lines))
