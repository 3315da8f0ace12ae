"""Limits on what a visitor without a cookie costs the server: connections, time and lines of its log.

A connection waits while no request of it is being answered. One that waits longer than :data:`SECONDS` is closed,
however many bytes of a header it has sent, and of more than :func:`most_waiting` the one that has waited longest. The
edge answers requests without a cookie at once, so only those of browsers that have entered are in progress for long;
these, and websockets, are never closed here.

Delegated to uvicorn: everything else about a connection.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from typing import Any, ClassVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0  # until a connection must have sent a whole request
QUIET = 60.0  # seconds for which a message that was logged is not logged again
FULL = "socket.accept() out of system resource"  # asyncio's message


def most_waiting() -> int:
    """Return how many connections may wait: an eighth of the files that this process may open, at most 256.

    asyncio accepts up to the backlog, which is as large, in each of three passes before the first is counted.
    """
    return max(8, min(256, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8))


class Connection(H11Protocol):
    """One connection; ``_waiting``: the waiting ones of all servers with their timers, the longest waiting first."""

    _waiting: ClassVar[dict[Connection, asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        if not self.transport.is_closing():
            self._wait()
        super().on_response_complete()  # may begin with the next request, which has been received already
        if not self.cycle.response_complete:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop_waiting()
        self._waiting[self] = self.loop.call_later(SECONDS, self._drop)
        if len(self._waiting) > most_waiting():
            next(iter(self._waiting))._drop()

    def _stop_waiting(self) -> None:
        if timer := self._waiting.pop(self, None):
            timer.cancel()

    def _drop(self) -> None:
        self._stop_waiting()
        self.transport.abort()


class Config(uvicorn.Config):
    """Uvicorn's configuration with :class:`Connection` as its protocol; Streamlit makes it and offers no choice."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "http": Connection, "backlog": most_waiting()})


class SeldomRepeated(logging.Filter):
    """Filter that lets each message, or each type of exception, pass once a minute: any visitor can cause some."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[tuple[object, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if the message has not been logged in the last minute."""
        key, now = (record.msg, record.exc_info and record.exc_info[0]), time.monotonic()
        if now - self._logged.get(key, -QUIET) < QUIET:
            return False
        self._logged[key] = now
        return True


def quieten(loop: asyncio.AbstractEventLoop) -> None:
    """Log seldom what connections can cause: uvicorn's warnings, and that no further one can be accepted."""
    log = logging.getLogger("uvicorn.error")
    log.setLevel(logging.WARNING)  # uvicorn would print an address without the token, and the path of every websocket
    log.addFilter(SeldomRepeated())

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context["message"] == FULL:
            log.warning("Too many open files or connections; new visitors wait.")
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


def install() -> None:
    """Let the servers that Streamlit starts in this process use :class:`Config`."""
    uvicorn.Config = Config  # type: ignore[misc]  # a class in place of another
