"""The frame of all pages: the wordmark, the density of the layout, and what the theme alone cannot set.

In: nothing. Out: a logo and one style sheet. Colours are those of ``.streamlit/config.toml``; the style sheet corrects
spacing and contrast, and refers to Streamlit's test ids, which tests/browser_tests/test_access.py would miss.
"""

from __future__ import annotations

from importlib.resources import files

import streamlit as st

from eavdash import __version__

_HERE = files("eavdash.ui.frame")


def configure() -> None:
    """Set the browser tab's title and icon, and the width of pages; called first."""
    about = f"eavdash {__version__}: emotion recognition from EEG, audio and video, trained, compared and explained."
    st.set_page_config("eavdash", str(_HERE / "mark.svg"), layout="wide", menu_items={"About": about})


def show() -> None:
    """Show the wordmark, and apply the style sheet."""
    st.logo((_HERE / "wordmark.svg").read_text("utf-8"), size="large")
    st.html(f"<style>{(_HERE / 'frame.css').read_text('utf-8')}</style>")
