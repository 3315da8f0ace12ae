"""Starts the dashboard's server: ``python -m eavdash.ui.server run app.py [options]``.

As the command ``streamlit``, but for one thing. Streamlit takes a folder ``pages`` beside the app for its older kind of
multi-page app until app.py has run once; a link to a page that is the first request after a start would be answered
with "Page not found" over the right page. It is told beforehand that app.py does the routing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Serve until stopped; ``arguments`` as for the command ``streamlit``."""
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web import cli

    PagesManager.uses_pages_directory = False
    cli.main([*arguments], prog_name="streamlit")


if __name__ == "__main__":
    main(sys.argv[1:])
