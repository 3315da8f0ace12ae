"""The dashboard as it is really served, below a base path and after a restart: who gets in, and what goes out."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from serving import Served, served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from eavdash.cli.serve import APP, Serving, free_port
from eavdash.store.processes import python_environment, python_module

#: Runs in the server: writes down every address outside this machine that it asks for.
WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        target = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = target[0] if isinstance(target, tuple) else target
        if event == "socket.getaddrinfo" or isinstance(target, tuple):
            if host not in ("127.0.0.1", "::1", "localhost", None):
                with open(os.environ["OUTSIDE"], "a") as file:
                    print(event, host, file=file)
sys.addaudithook(watch)
"""


class Entrance:
    """The server after a restart, with the cookie of a browser that came in before."""

    def __init__(self, app: Served, cookie: str, outside: Path) -> None:
        self.app, self.cookie, self.outside = app, cookie, outside

    def ask(self, path: str, method: str = "GET", cookie: bool = False, **headers: str) -> HTTPResponse:
        return ask(f"{self.app.url}/{path}", method, **({"Cookie": self.cookie} if cookie else {}), **headers)

    def streams(self, cookie: bool = True, host: str = "", **headers: str) -> int:
        """Return the status of a websocket: 101 if the server accepts it. ``host``: the name in its address."""
        parts = urlsplit(self.app.url)
        url = f"ws://{host or parts.netloc}{parts.path}/_stcore/stream"
        given = {"Cookie": self.cookie, **headers} if cookie else headers
        with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as link:
            try:
                with connect(url, sock=link, subprotocols=[Subprotocol("streamlit")], additional_headers=given):
                    return 101
            except InvalidStatus as refused:
                return refused.response.status_code


def ask(url: str, method: str = "GET", **headers: str) -> HTTPResponse:
    """Return the answer to one request, its body read; redirects are not followed."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request(method, f"{parts.path}?{parts.query}", headers=headers)
    answer = connection.getresponse()
    answer.text = answer.read().decode("utf-8", "replace")  # type: ignore[attr-defined]
    connection.close()
    return answer


@pytest.fixture(scope="module")
def entrance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entrance]:
    folder = tmp_path_factory.mktemp("entrance")
    (folder / "watch").mkdir()
    (folder / "watch" / "sitecustomize.py").write_text(WATCH)
    outside = folder / "outside.txt"
    variables = {
        "STREAMLIT_SERVER_BASE_URL_PATH": "lab/eav",
        "PYTHONPATH": os.pathsep.join([str(folder / "watch"), str(APP.parent)]),
        "OUTSIDE": str(outside),
    }
    with served(folder, 8880, **variables) as first:
        answer = ask(first.link("monitor?study=a"))
        assert (answer.status, answer.headers["location"]) == (303, "/lab/eav/monitor?study=a")
        cookie = answer.headers["set-cookie"].split(";")[0]
    port = urlsplit(first.url).port
    assert port is not None
    with served(folder, port, **variables) as second:
        assert second.url == first.url
        assert second.token != first.token
        yield Entrance(second, cookie, outside)


def test_the_printed_address_leads_to_the_app_below_its_base_path(entrance: Entrance) -> None:
    assert entrance.app.url.endswith("/lab/eav")
    entered = ask(entrance.app.link())
    assert (entered.status, entered.headers["location"]) == (303, "/lab/eav/")
    page = entrance.ask("", Cookie=entered.headers["set-cookie"].split(";")[0])
    assert page.status == 200
    assert "<title>" in page.text  # type: ignore[attr-defined]


def test_the_cookie_outlives_a_restart(entrance: Entrance) -> None:
    assert entrance.ask("monitor", cookie=True).status == 200
    assert entrance.streams() == 101
    secret = entrance.app.log.with_name("state") / "eavdash" / "cookie-secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "path",
    [
        *("", "monitor", "index.html", "media/a.mp4", "eavdash-media/x", "_stcore/host-config", "_stcore/metrics"),
        *("_stcore/bidi-components/x", "component/x/index.html", "static/x.js", "favicon.png", "%2e%2e/_stcore/health"),
    ],
)
def test_no_route_answers_without_the_cookie(entrance: Entrance, path: str) -> None:
    for method in ("GET", "POST"):
        assert entrance.ask(path, method).status == 401
    forged = re.sub(r"=(.)", lambda found: "=-" if found[1] == "_" else "=_", entrance.cookie, count=1)
    assert entrance.ask(path, Cookie=forged).status == 401


def test_uploads_need_the_cookie(entrance: Entrance) -> None:
    path = "_stcore/upload_file/session/file"
    for method in ("PUT", "POST", "DELETE"):
        assert entrance.ask(path, method).status == 401
    assert entrance.ask(path, "DELETE", cookie=True).status == 403, "Streamlit's own answer: no XSRF token"


def test_the_websocket_needs_the_cookie_and_the_right_names(entrance: Entrance) -> None:
    here = "http://" + urlsplit(entrance.app.url).netloc
    assert entrance.streams(Origin=here) == 101
    assert entrance.streams(cookie=False) == 403
    assert entrance.streams(cookie=False, Origin=here) == 403
    assert entrance.streams(Origin="http://evil.example") == 403
    assert entrance.streams(Origin="http://127.0.0.1:9") == 403
    assert entrance.streams(host="evil.example") == 403
    assert entrance.streams(host="evil.example", Origin="http://evil.example") == 403


def test_health_is_open_and_the_host_is_checked(entrance: Entrance) -> None:
    assert entrance.ask("_stcore/health").text == "ok"  # type: ignore[attr-defined]
    for path in ("", "_stcore/health", "_stcore/host-config"):
        assert entrance.ask(path, cookie=True, Host="evil.example").status == 403
        assert entrance.ask(path, cookie=True, Host="evil.example", Origin="http://evil.example").status == 403
    assert entrance.ask(f"?token={entrance.app.token}", Host="localhost:1").status == 303, "through a tunnel"


def test_responses_of_streamlit_carry_the_headers(entrance: Entrance) -> None:
    for path in ("", "_stcore/health", "_stcore/host-config", "favicon.png"):
        answer = entrance.ask(path, cookie=True)
        assert answer.status == 200
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_foreign_origin_makes_the_server_ask_no_other_machine(entrance: Entrance) -> None:
    statuses = set()
    for origin in ("http://evil.example", "http://127.0.0.1:9", "null"):
        statuses |= {entrance.streams(Origin=origin), entrance.ask("_stcore/health", Origin=origin).status}
    assert not entrance.outside.exists(), entrance.outside.read_text()
    assert statuses == {403}


def test_the_token_is_printed_once(entrance: Entrance) -> None:
    ask(entrance.app.link("monitor"))
    entrance.streams(cookie=False)
    logged = entrance.app.log.read_text()
    assert logged.count(entrance.app.token) == 1
    assert entrance.cookie.split("=")[1] not in logged


def test_without_a_token_every_visitor_enters_and_it_is_said(tmp_path: Path) -> None:
    with served(tmp_path, 8890, serving=Serving(first_port=8890, token=False)) as app:
        assert app.token == ""
        assert ask(f"{app.url}/").status == 200
        assert ask(f"{app.url}/", Host="evil.example").status == 403
    assert not (tmp_path / "state").exists()


def test_plain_streamlit_checks_the_host(tmp_path: Path) -> None:
    port = free_port(8895)
    command = [*python_module("streamlit", "run", str(APP)), "--server.port", str(port)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=APP.parent, env=python_environment(), stdout=log, stderr=log) as server,
    ):
        try:
            for _ in range(600):
                if b"URL:" in (tmp_path / "log").read_bytes():
                    break
                time.sleep(0.1)
            plain = Entrance(Served(f"http://127.0.0.1:{port}", "", tmp_path / "log", server.terminate), "", tmp_path)
            assert plain.ask("").status == 200
            assert plain.streams() == 101
            assert plain.streams(host="evil.example", Origin="http://evil.example") == 403
        finally:
            server.terminate()
