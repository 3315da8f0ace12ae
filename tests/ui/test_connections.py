"""What visitors without a cookie can do to the served dashboard: hold connections, send half a header, fill the log."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest
from serving import Served, served
from test_entrance import ask
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from eavdash.cli.serve import APP
from eavdash.ui import connections

FILES = 256  # that the server may open
#: Runs in the server before anything else.
LIMITED = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("limited")
    (folder / "limit").mkdir()
    (folder / "limit" / "sitecustomize.py").write_text(LIMITED)
    with served(folder, 8940, PYTHONPATH=os.pathsep.join([str(folder / "limit"), str(APP.parent)])) as app:
        yield app


def test_idle_and_half_sent_requests_stop_nobody_and_a_websocket_stays(limited: Served) -> None:
    parts = urlsplit(limited.url)
    target = (str(parts.hostname), int(parts.port or 0))
    cookie = ask(limited.link()).headers["set-cookie"].split(";")[0]
    before = limited.log.stat().st_size
    with ExitStack() as opened:
        stream = opened.enter_context(
            connect(
                f"ws://{parts.netloc}/_stcore/stream",
                subprotocols=[Subprotocol("streamlit")],
                additional_headers={"Cookie": cookie},
            )
        )
        for _ in range(FILES + 60):
            opened.enter_context(socket.create_connection(target, timeout=10))
        started = time.monotonic()
        assert ask(f"{limited.url}/_stcore/health").status == 200
        assert time.monotonic() - started < 5
        half = [opened.enter_context(socket.create_connection(target, timeout=30)) for _ in range(10)]
        for each in half:
            each.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        started = time.monotonic()
        for each in half:
            while time.monotonic() - started < 3 * connections.SECONDS and not _closed(each):
                time.sleep(0.2)
                _send(each, b"X: y\r\n")  # a further line of the header gives no further time
        assert connections.SECONDS / 2 < time.monotonic() - started < 2 * connections.SECONDS
        assert stream.ping().wait(10)
    for _ in range(300):
        with socket.create_connection(target, timeout=10) as wrong:
            wrong.sendall(b"\x00\r\n\r\n")
            wrong.recv(100)
    assert limited.log.stat().st_size - before < 2000, limited.log.read_text()[-5000:]


def _send(link: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # closed, as is asked next
        link.sendall(content)


def _closed(link: socket.socket) -> bool:
    """Return True if the other side has closed a connection."""
    link.setblocking(False)
    try:
        return link.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
