"""The dashboard's server: ``python -m eavdash.ui.server app.py [options]``; ``eavdash app`` starts it.

It differs from the command ``streamlit run`` in five points. A token or a cookie is needed to enter
(:mod:`eavdash.ui.edge`), and the address with the token is printed here. Connections without a request are few and
short (:mod:`eavdash.ui.connections`). Recordings are served by a separate route (:mod:`eavdash.ui.media`). Until app.py
has run once, Streamlit treats the folder ``pages`` as its older kind of multi-page app and shows "Page not found" if
the first request is a link to a page; here routing by app.py is set in advance.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import sys
import tempfile
import webbrowser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from eavdash.errors import EavdashError
from eavdash.store.secret import private_folder, user_secret
from eavdash.ui import connections, edge, media

COOKIE_SECRET = "cookie-secret"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the server's options."""
    made = argparse.ArgumentParser(prog="eavdash.ui.server", allow_abbrev=False)
    made.add_argument("script", help="path of app.py")
    made.add_argument("--address", required=True)
    made.add_argument("--port", type=int, required=True)
    made.add_argument("--allowed-hosts", nargs="+", required=True, metavar="NAME", help="names in the app's address")
    made.add_argument("--no-token", action="store_true", help="let every visitor in")
    made.add_argument("--open", action="store_true", help="open a browser")
    return made


def main(arguments: Sequence[str]) -> int:
    """Serve the dashboard until it is stopped; return the exit code."""
    import streamlit as st
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web import bootstrap

    options = parser().parse_args(arguments)
    try:
        token = "" if options.no_token else secrets.token_urlsafe(32)
        secret = user_secret(COOKIE_SECRET) if token else b""
    except EavdashError as error:
        print(f"eavdash: {error}", file=sys.stderr)
        return error.exit_code

    @asynccontextmanager
    async def announced(_app: Any) -> AsyncIterator[None]:
        """Print, and open, the address while the app is served."""
        connections.quieten(asyncio.get_running_loop())
        url = address(options.address, options.allowed_hosts, token)
        print(f"dashboard: {url}   (Ctrl-C closes it; jobs continue)", flush=True)
        async with opened(url) if options.open else contextlib.nullcontext():
            yield

    PagesManager.uses_pages_directory = False
    connections.install()
    sys.argv = [options.script]  # Streamlit takes the folder of the script from it
    settings = {
        **from_environment(),
        "server.address": options.address,
        "server.port": options.port,
        "server.allowedHosts": options.allowed_hosts,
        "logger.hideWelcomeMessage": True,  # ours is printed
    }
    bootstrap.load_config_options(settings)  # the routes below ask for the base path
    app = st.App(
        options.script,
        routes=media.routes(),
        middleware=[edge.middleware(token, secret, options.port)],
        lifespan=announced,
    )
    with contextlib.suppress(KeyboardInterrupt):
        app.run(config=settings)
    return 0


def from_environment() -> dict[str, Any]:
    """Return Streamlit's settings in environment variables, such as STREAMLIT_SERVER_BASE_URL_PATH.

    The command ``streamlit`` reads them, ``App.run`` does not.
    """
    import click
    from streamlit.web.cli import configurator_options

    given = click.command()(configurator_options(lambda **settings: settings)).main([], standalone_mode=False)
    return {name.replace("_", "."): value for name, value in given.items() if value not in (None, ())}


def address(bound: str, names: Sequence[str], token: str) -> str:
    """Return the address to open: with the base path, and with the token unless it is empty.

    ``names``: the allowed hosts; the last is the address's host if the server is ``bound`` to all addresses.
    """
    from streamlit.web.server.server_util import get_url

    host = names[-1] if bound in ("0.0.0.0", "::") else bound
    url = get_url(f"[{host}]" if ":" in host else host) + "/"
    return f"{url}?{urlencode({'token': token})}" if token else url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[None]:
    """Open a URL in a browser through a private page that leads to it: every user sees the arguments of programs."""
    descriptor, name = tempfile.mkstemp(suffix=".html", dir=private_folder())
    page = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(
                f'<!doctype html><title>eavdash</title><meta http-equiv="refresh" content="0;url={escape(url)}">'
            )
        await asyncio.to_thread(webbrowser.open, page.as_uri())
        yield
    finally:
        page.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
