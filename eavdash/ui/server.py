"""Starts the dashboard's server: ``python -m eavdash.ui.server run app.py [options]``.

As the command ``streamlit``, but for two things. Streamlit takes a folder ``pages`` beside the app for its older kind
of multi-page app until app.py has run once; a link to a page that is the first request after a start would be answered
with "Page not found" over the right page. It is told beforehand that app.py does the routing. And recordings have a
route of their own (:mod:`eavdash.ui.media`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from eavdash.ui import media


def main(arguments: Sequence[str]) -> None:
    """Serve until stopped; ``arguments`` as for the command ``streamlit``."""
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web import cli
    from streamlit.web.server.starlette import starlette_app

    PagesManager.uses_pages_directory = False
    usual = starlette_app.create_streamlit_routes

    def with_media(runtime: Any) -> list[Any]:
        # Before Streamlit's own, the last of which answers every path with the app's page.
        return [*media.routes(), *usual(runtime)]

    starlette_app.create_streamlit_routes = with_media
    cli.main([*arguments], prog_name="streamlit")


if __name__ == "__main__":
    main(sys.argv[1:])
