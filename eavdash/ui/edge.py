"""The edge of the app: a middleware in front of all of Streamlit's routes, the websocket included, that decides who may
talk to it.

In: the token of the printed address, a secret of the user's, the base path. A request passes if its ``Host`` is one of
``server.allowedHosts``, its ``Origin``, if it has one, is that same host, and it carries a cookie that was signed with
the secret; a browser gets that cookie for the token. Only the health route answers without it. Every response refuses
frames, content sniffing and use by other sites, and the app's address is sent to no other site.

Streamlit by itself accepts an ``Origin`` with any port of this machine, on which other users may serve pages, and asks
a host on the internet for this machine's address when it meets another; here neither reaches it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote

import streamlit as st

from eavdash.ui.fragment import stop

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.requests import HTTPConnection
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEALTH = "/_stcore/health"
DAYS = 30  # that a cookie is valid
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
NO_TOKEN = (
    "This dashboard opens with its whole address, which ends in ?token=… Copy it from the terminal in which "
    "eavdash was started; it is printed there at every start."
)
WRONG_HOST = (
    "This dashboard does not go by the name in this address. Open it as 127.0.0.1 or localhost, or start it with "
    "--allowed-hosts and the name."
)
WRONG_ORIGIN = "This request comes from a page of another site."

_has_token = _in_place = False


def middleware(token: str, secret: bytes, port: int) -> Middleware:
    """Return the middleware for a server on ``port``; with an empty ``token``, every visitor of an allowed host enters.

    :func:`check_exposure` takes it into account from then on.
    """
    from starlette.middleware import Middleware

    global _has_token, _in_place
    _has_token, _in_place = bool(token), True
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return Middleware(Edge, token=token, secret=secret, port=port, base=f"/{base}" if base else "")


class Edge:
    """The middleware; ``base`` is the app's base path with a leading slash, or ""."""

    def __init__(self, app: ASGIApp, *, token: str, secret: bytes, port: int, base: str = "") -> None:
        from itsdangerous import TimestampSigner

        self._app, self._token, self._base = app, token, base
        # A cookie is sent to every port of a host: one of another port is of no use here.
        self._signer = TimestampSigner(secret, salt=f"eavdash-{port}", digest_method=hashlib.sha256)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import MutableHeaders
        from starlette.requests import HTTPConnection
        from starlette.websockets import WebSocket

        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._answer(HTTPConnection(scope))
        if answer is None:
            await self._app(scope, receive, send_guarded)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(1008)
        else:
            await answer(scope, receive, send_guarded)

    def _answer(self, asked: HTTPConnection) -> Response | None:
        """Return the response that ends a request here; None: it passes."""
        from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

        host, origin = asked.headers.get("host", ""), asked.headers.get("origin")
        if not is_host_allowed(host):
            return _refusal(asked, 403, WRONG_HOST)
        if origin is not None and origin.partition("://")[2] != host:
            return _refusal(asked, 403, WRONG_ORIGIN)
        reads = asked.scope.get("method") in ("GET", "HEAD")  # a websocket has no method
        if reads and asked.scope["path"] == self._base + HEALTH:
            return None
        token = asked.query_params.get("token") if reads else None
        enters = bool(token and self._token) and secrets.compare_digest(str(token).encode(), self._token.encode())
        if self._token and not enters and not self._has_cookie(asked):
            return _refusal(asked, 401, NO_TOKEN)
        return None if token is None else self._redirect(asked, enters)

    def _has_cookie(self, asked: HTTPConnection) -> bool:
        return self._signer.validate(asked.cookies.get(_cookie_name(asked), ""), max_age=DAYS * 24 * 3600)

    def _redirect(self, asked: HTTPConnection, enters: bool) -> Response:
        """Return the way to the same address without the token; with a cookie for one who ``enters``."""
        from starlette.responses import RedirectResponse

        # One slash: a path that begins with two is the name of another host.
        path = quote("/" + asked.scope["path"].lstrip("/"))
        query = asked.url.remove_query_params("token").query
        answer = RedirectResponse(f"{path}?{query}" if query else path, 303, {"Cache-Control": "no-store"})
        if enters:
            # "Lax": with "strict", a link to the app in a mail or a document would open without the cookie.
            answer.set_cookie(
                _cookie_name(asked),
                self._signer.sign(secrets.token_urlsafe(8)).decode(),
                path=self._base or "/",
                secure=asked.url.scheme == "https",
                httponly=True,
                samesite="lax",
            )
        return answer


def _cookie_name(asked: HTTPConnection) -> str:
    """Return a name that contains the port in the browser's address: browsers share cookies among a host's ports."""
    return f"eavdash-{asked.url.port or asked.url.scheme}"


def _refusal(asked: HTTPConnection, status: int, text: str) -> Response:
    from starlette.responses import HTMLResponse, PlainTextResponse

    headers = {"Cache-Control": "no-store"} | ({"WWW-Authenticate": "Token"} if status == 401 else {})
    if "text/html" not in asked.headers.get("accept", ""):
        return PlainTextResponse(text, status, headers)
    page = f'<!doctype html><meta charset="utf-8"><title>eavdash</title><p>{text}</p>'
    return HTMLResponse(page, status, headers)


def check_exposure() -> None:
    """Say on the page that every user of this machine may open it, where no token is needed; stop it on a network."""
    if _has_token:
        return
    address = str(st.get_option("server.address") or "0.0.0.0")
    if not is_loopback(address):
        st.error(
            f"This dashboard is served on {address}, where everyone who reaches this machine could act in your name; "
            "it shows nothing. Start it with `eavdash app`."
        )
        stop()
    remedy = "without `--no-token`" if _in_place else "instead of `streamlit run`"
    st.sidebar.caption(
        f"Every user of this machine can open this dashboard. For a private one: `eavdash app` {remedy}."
    )


def is_private() -> bool:
    """Return True if only those who have the token reach the app, and only on this machine.

    A further allowed host is the name of a proxy, which lets others in.
    """
    served = (str(st.get_option("server.address") or ""), *(st.get_option("server.allowedHosts") or ("*",)))
    return _has_token and all(map(is_loopback, served))


def is_loopback(address: str) -> bool:
    """Return True if only this machine reaches an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
