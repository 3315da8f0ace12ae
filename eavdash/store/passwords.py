"""Passwords in the addresses of databases: taken out of an address, and kept out of everything that is shown.

In: ``scheme://user:password@host/database?sslpassword=…``, as SQLAlchemy and libpq read it. Out: the address without
its secrets, and the secrets by libpq's names. Processes get them by their environment, never by their command line.
"""

from __future__ import annotations

import os
import re
import sys
from typing import IO, Any
from urllib.parse import unquote, unquote_plus

#: The variables with the queue's address and password. Only the processes that serve or use the queue need them.
VARIABLES = ("EAVDASH_QUEUE", "PGPASSWORD")
_SECRET = re.compile(r"pass|pwd|secret|token|scram\w*key", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s\"']+")
_CREDENTIALS = re.compile(r"(?P<user>[^:/@?]*)(?::(?P<password>[^@]*))?@")
_HIDDEN = "***"
_SHORTEST = 3  # characters; replacing shorter ones would make other texts unreadable


def split_address(url: str) -> tuple[str, dict[str, str]]:
    """Return an address without its secrets, and the secrets (password, sslpassword, passfile ...) by name."""
    scheme, colon, rest = url.partition("://")
    if not colon:
        return url, {}
    secrets: dict[str, str] = {}
    user = ""
    if found := _CREDENTIALS.match(rest):
        user, rest = f"{found['user']}@", rest[found.end() :]
        password = found["password"]
        host = re.match(r"[^/?]*", rest)
        if password is not None and host and "@" in host[0]:  # a password with an unquoted @
            more, _, tail = host[0].rpartition("@")
            password, rest = f"{password}@{more}", tail + rest[host.end() :]
        if password:
            secrets["password"] = unquote(password)
    server, mark, query = rest.partition("?")
    kept = []
    for entry in query.split("&") if mark else ():
        name, _, value = entry.partition("=")
        if _SECRET.search(unquote_plus(name)):
            secrets[unquote_plus(name)] = unquote_plus(value)
        else:
            kept.append(entry)
    return f"{scheme}://{user}{server}{'?' if kept else ''}{'&'.join(kept)}", secrets


def hide(text: object) -> str:
    """Return a text without the secrets of addresses in it and without those of this process's queue."""
    shown = _URL.sub(lambda found: split_address(found[0])[0], str(text))
    for secret in _known():
        shown = shown.replace(secret, _HIDDEN)
    return shown


def guard_output() -> None:
    """Hide secrets in all that this process prints from now on, tracebacks and libraries' logs included."""
    sys.stdout, sys.stderr = _Guarded(sys.stdout), _Guarded(sys.stderr)


class _Guarded:
    """A text stream whose writes pass :func:`hide`."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(hide(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _known() -> list[str]:
    """Return the secrets in this process's environment, also as they are quoted in an address, the longest first."""
    address = os.environ.get("EAVDASH_QUEUE", "")
    secrets = {*split_address(address)[1].values(), os.environ.get("PGPASSWORD", "")}
    quoted = {
        part for part in re.split(r"[:@?&=/]", address) if unquote_plus(part) in secrets or unquote(part) in secrets
    }
    return sorted((s for s in secrets | quoted if len(s) >= _SHORTEST), key=len, reverse=True)
