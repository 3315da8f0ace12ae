"""The documentation as it is installed: its Markdown files, shown inside the app.

In: the folder ``docs`` beside the app. Out: one document at a time, whose links to others stay inside the app; the
document is in the address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from eavdash import __version__
from eavdash.ui import address

PAGE, NAMES = "home_docs", ("document",)
FIRST = ("guide", "data", "adapters", "settings", "evaluation", "statistics", "explaining")
_LINK = re.compile(r"\]\(([\w.-]+)\.md(?:#[\w-]*)?\)")
_OUTSIDE = re.compile(r"!?\[([^\]]*)\]\((?:\.\./|images/)[^)]*\)")


def product(docs: StreamlitPage) -> None:
    """Show the product's name and version and the way to its documentation in the sidebar of every page."""
    with st.sidebar.container(horizontal=True, vertical_alignment="center", key="frame_product"):
        st.caption(f"eavdash {__version__}", width="content")
        st.page_link(docs, label="Docs")


def titles(folder: Path) -> dict[str, str]:
    """Return the title of each document by its name, the guide first; empty if there are none."""
    found = {file.stem: _title(file) for file in sorted(folder.glob("*.md"))}
    first = [name for name in FIRST if name in found]
    return {name: found[name] for name in [*first, *(n for n in found if n not in first)]}


def show(folder: Path) -> None:
    """Show the choice of a document, and the document."""
    names = titles(folder)
    st.caption(f"eavdash {__version__}")
    if not names:
        st.info("The documentation is not part of this installation: it is in the folder docs of the source.")
        return
    address.read(PAGE, NAMES)
    address.valid(f"{PAGE}_document", names, next(iter(names)))
    chosen = st.selectbox("Document", list(names), format_func=names.__getitem__, key=f"{PAGE}_document")
    address.write(PAGE, NAMES)
    with st.container(width=900):
        st.markdown(linked((folder / f"{chosen}.md").read_text(encoding="utf-8"), names))


def linked(text: str, names: Mapping[str, str]) -> str:
    """Return a document whose links to others lead to this page; links to other files of the source are plain text."""
    text = _OUTSIDE.sub(r"\1", text)
    return _LINK.sub(lambda link: f"](docs?document={link[1]})" if link[1] in names else link[0], text)


def _title(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next((line[2:].strip() for line in lines if line.startswith("# ")), file.stem)
