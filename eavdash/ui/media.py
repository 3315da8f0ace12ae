"""A private route that serves recordings to the browser session that shows them.

In: a file and the session whose page shows it. Out: a URL with an unguessable token. The route serves the very file
that was registered, if it may be read (:mod:`eavdash.store.readable`), not one that took its name meanwhile. It does so
with HTTP ranges, while that session is connected, and only to its browser (checked by Streamlit's XSRF cookie, if XSRF
protection is on); every other request gets a 404. Streamlit's static files would be readable by every user.

The route exists if ``python -m eavdash.ui.server`` started the app. Otherwise (``streamlit run``, tests) files are
served by Streamlit's media store, which reads them into memory.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import streamlit as st

from eavdash.data.cache import videos
from eavdash.errors import EavdashError, RecordingError
from eavdash.store.readable import check_readable, open_readable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

ROUTE = "eavdash-media"
PER_SESSION = 32  # files per session; the oldest are dropped
TYPES = {
    **{".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".wav": "audio/wav"},
    **{".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif"},
}
#: Keep recordings of faces out of caches and other sites, and prevent content sniffing.
HEADERS = {
    "Cache-Control": "private, no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class _Entry:
    session: str
    cookie: str
    path: str  # resolved
    file: tuple[int, int]  # device and inode


_entries: dict[str, _Entry] = {}
_held: dict[str, BinaryIO | None] = {}  # by token; a copy in the cache stays there while it is open
_lock = threading.Lock()
_served = False


def address(path: Path, key: str) -> str:
    """Return the URL of a file for the running session, or "" outside of a session. ``key``: the widget's key."""
    from streamlit.runtime import Runtime
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not Runtime.exists():
        return ""
    kind = TYPES.get(path.suffix.lower(), "application/octet-stream")
    if not _served:
        with RecordingError.from_os(path, expected="a file", remedy="reload the page"), open_readable(path) as file:
            content = file.read()
        return _with_base_path(Runtime.instance().media_file_mgr.add(content, kind, f"{ROUTE}-{key}-{path.name}"))
    return _with_base_path(f"{ROUTE}/{register(path, context.session_id, st.context.cookies.get(_cookie_name(), ''))}")


def register(path: Path, session: str, cookie: str) -> str:
    """Return the token of a file for a session and its browser; repeated calls return the same, to avoid reloads.

    Raises:
        OutsideError: it may not be read.
        RecordingError: it cannot be opened, or is not a regular file.
    """
    with RecordingError.from_os(path, expected="a file", remedy="reload the page"), open_readable(path) as file:
        found = os.fstat(file.fileno())
    entry = _Entry(session, cookie, check_readable(path), (found.st_dev, found.st_ino))
    with _lock:
        token = next((t for t, known in _entries.items() if known == entry), None) or secrets.token_urlsafe(32)
        _entries.pop(token, None)
        for other in [t for t, known in _entries.items() if known.session != session and not _alive(known.session)]:
            del _entries[other]
        own = [t for t, known in _entries.items() if known.session == session]
        for oldest in own[: max(0, len(own) + 1 - PER_SESSION)]:
            del _entries[oldest]
        _entries[token] = entry
        for forgotten in _held.keys() - _entries.keys():
            if (held := _held.pop(forgotten)) is not None:
                held.close()
        if token not in _held:
            _held[token] = videos.hold(path)
    return token


def routes() -> list[BaseRoute]:
    """Return the route to add to the server; :func:`address` uses it from then on."""
    from starlette.routing import Route

    global _served
    _served = True
    return [Route(_with_base_path(f"{ROUTE}/{{token:path}}"), _serve, methods=["GET", "HEAD"])]


async def _serve(request: Request) -> Response:
    from starlette.responses import FileResponse, Response

    not_found = Response(status_code=404, headers=HEADERS)
    entry = _entries.get(request.path_params["token"])
    if entry is None or not _alive(entry.session) or not _same_browser(entry.cookie, request.cookies):
        return not_found
    try:
        file = await asyncio.to_thread(open_readable, entry.path)
    except (OSError, EavdashError):
        return not_found
    found = os.fstat(file.fileno())
    if (found.st_dev, found.st_ino) != entry.file:
        file.close()
        return not_found

    class _OpenFile(FileResponse):
        async def __call__(self, *connection: Any) -> None:
            with file:  # until the last byte is sent, or the browser has gone
                await super().__call__(*connection)

    kind = TYPES.get(Path(entry.path).suffix.lower(), "application/octet-stream")
    return _OpenFile(f"/dev/fd/{file.fileno()}", headers=HEADERS, media_type=kind, stat_result=found)


def _alive(session: str) -> bool:
    """Return True if the session is connected."""
    from streamlit.runtime import Runtime

    return Runtime.exists() and Runtime.instance().is_active_session(session)


def _same_browser(cookie: str, cookies: Any) -> bool:
    from streamlit.web.server.starlette.starlette_app_utils import validate_xsrf_token

    return not cookie or validate_xsrf_token(cookies.get(_cookie_name()), cookie)


def _cookie_name() -> str:
    from streamlit.web.server.starlette.starlette_server_config import XSRF_COOKIE_NAME

    return str(XSRF_COOKIE_NAME)


def _with_base_path(path: str) -> str:
    """Return a path below the app's base path."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}/{path.lstrip('/')}" if base else f"/{path.lstrip('/')}"
