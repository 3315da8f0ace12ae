"""The dashboard's server: ``python -m eavdash.ui.server run app.py [options]``.

It differs from the command ``streamlit`` in two points. Until app.py has run once, Streamlit treats the folder
``pages`` as its older kind of multi-page app and shows "Page not found" if the first request is a link to a page; here
routing by app.py is set in advance. And recordings are served by a separate route (:mod:`eavdash.ui.media`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from eavdash.ui import media


def main(arguments: Sequence[str]) -> None:
    """Serve the dashboard; ``arguments`` as for the command ``streamlit``."""
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web import cli
    from streamlit.web.server.starlette import starlette_app

    PagesManager.uses_pages_directory = False
    streamlit_routes = starlette_app.create_streamlit_routes

    def with_media(runtime: Any) -> list[Any]:
        # Before Streamlit's routes, as the last of them matches every path.
        return [*media.routes(), *streamlit_routes(runtime)]

    starlette_app.create_streamlit_routes = with_media
    cli.main([*arguments], prog_name="streamlit")


if __name__ == "__main__":
    main(sys.argv[1:])
