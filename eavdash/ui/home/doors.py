"""The three doors of a first visit: the demo, one's own recordings, and another checkpoints folder.

In: the checkpoints folder. Out: a background task, another page, or another checkpoints folder for this process, which
only who has the token may choose.
"""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from eavdash.errors import EavdashError, UsageError
from eavdash.store import studies
from eavdash.store.names import checkpoints_folder
from eavdash.store.readable import data_folders
from eavdash.text import markdown
from eavdash.ui import actions, edge, tasks, widgets

PAGE = "home_overview"
DEMO = ("demo", "--no-serve")
FOLDER = f"{PAGE}_folder"


def show(root: Path) -> None:
    """Show the doors side by side."""
    demo, own, other = st.columns(3)
    with demo.container(border=True, height="stretch"):
        _demo(root)
    with own.container(border=True, height="stretch"):
        st.subheader("Add your recordings", anchor=False)
        st.markdown(
            "Name a folder (EAV, BIDS, DEAP) or upload a table of trials. They are checked and played before anything "
            "is trained; nothing is copied or changed."
        )
        st.page_link(widgets.ADD, label="Add data", icon=":material/add:")
    with other.container(border=True, height="stretch"):
        st.subheader("Open existing studies", anchor=False)
        st.markdown(f"Studies live in a checkpoints folder. This one is empty: {markdown(root)}")
        other_folder()


def other_folder() -> None:
    """Show the field that opens another checkpoints folder, or the command that does."""
    if not edge.is_private():
        st.caption("Start the app with the folder that has them:")
        st.code("eavdash app --checkpoints FOLDER", language=None, wrap_lines=True)
        return
    st.text_input("Checkpoints folder", placeholder="/data/checkpoints", key=FOLDER)
    if problem := st.session_state.pop(f"{FOLDER}_problem", ""):
        st.error(markdown(problem))
    st.button("Open it", on_click=_open, key=f"{PAGE}_open")


def demo_runs(root: Path) -> bool:
    """Show the demo's task unless it has ended well; return whether it was shown."""
    status = tasks.latest(root, command=DEMO)
    if status is None or status.state == "done":
        return False
    tasks.panel(root, command=DEMO, key=f"{PAGE}_demo")
    return True


def _demo(root: Path) -> None:
    st.subheader("Try the demo", anchor=False)
    st.markdown(
        "Simulated recordings of three people are made, models of video, audio, EEG and their fusion are trained on "
        "them, and some decisions are explained. It takes some minutes, on a processor too; you can close this page."
    )
    if demo_runs(root):
        return
    folder = _place()
    st.button(
        "Make and train the demo",
        type="primary",
        disabled=not folder,
        on_click=tasks.start,
        args=((*DEMO, f"--out={folder}"), "Demo"),
        key=f"{PAGE}_make",
    )
    if folder:
        st.caption(f"Its recordings go to {markdown(folder)}.")
    else:
        st.error("The app may read no folder that can be written: start it with --data FOLDER.")


def _place() -> str:
    """Return where the demo's recordings go: into a folder that the app may read; empty if none can be written."""
    allowed = data_folders()
    folders = [Path.cwd()] if allowed is None else [*map(Path, allowed)]
    folders.sort(key=lambda folder: folder != Path.cwd())
    return next((str(folder / "demo-data") for folder in folders if os.access(folder, os.W_OK)), "")


def _open() -> None:
    """Open the typed folder: from now on this process shows its studies."""
    try:
        if not edge.is_private():
            remedy = "start the app with --checkpoints"
            raise UsageError.at("checkpoints folder", expected="the app's owner", found="another", remedy=remedy)
        root = _with_studies(str(st.session_state.get(FOLDER) or "").strip())
    except EavdashError as error:
        st.session_state[f"{FOLDER}_problem"] = str(error)
        return
    os.environ["EAVDASH_CHECKPOINTS"] = str(root)
    for name in ("study", FOLDER):
        st.session_state.pop(name, None)
    st.session_state[actions.MESSAGE] = ("success", f"Opened {root}.")


def _with_studies(path: str) -> Path:
    """Return the folder.

    Raises:
        UsageError: it has no studies, or is no folder.
    """
    remedy = "give the folder that contains the studies' folders"
    expected = "a checkpoints folder with studies"
    if not path:
        raise UsageError.at("checkpoints folder", expected=expected, found="nothing", remedy=remedy)
    root = checkpoints_folder(path)
    if not root.is_dir() or not studies(root):
        found = "a folder without any" if root.is_dir() else "no such folder"
        raise UsageError.at(path, expected=expected, found=found, remedy=remedy)
    return root
