"""The middleware in front of the app, request by request: token, cookie, Host, Origin and the headers of responses."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from itsdangerous import TimestampSigner
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit import config
from streamlit.testing.v1 import AppTest

from eavdash.ui import edge

TOKEN, SECRET, PORT = "the-right-token_1", b"s" * 32, 8501
HERE = f"http://127.0.0.1:{PORT}"


async def reached(request: Request) -> PlainTextResponse:
    headers = {"Content-Security-Policy": "frame-ancestors *", "X-Frame-Options": "ALLOWALL"}
    return PlainTextResponse(f"reached {request.url.path}?{request.url.query}", headers=headers)


async def stream(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("reached")
    await websocket.close()


def browser(
    *, token: str = TOKEN, secret: bytes = SECRET, port: int = PORT, base: str = "", url: str = HERE
) -> TestClient:
    """Return a new browser that visits an app behind the middleware."""
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]
    app = Starlette(
        routes=[WebSocketRoute("/{path:path}", stream), Route("/{path:path}", reached, methods=methods)],
        middleware=[Middleware(edge.Edge, token=token, secret=secret, port=port, base=base)],
    )
    return TestClient(app, base_url=url, follow_redirects=False)


@pytest.fixture(autouse=True)
def allowed() -> Iterator[None]:
    """The names that the app answers to."""
    before = config.get_option("server.allowedHosts")
    config.set_option("server.allowedHosts", ["127.0.0.1", "localhost", "::1", "lab.example.org"])
    yield
    config.set_option("server.allowedHosts", before)


def entered(**options: str) -> TestClient:
    """Return a browser that has exchanged the token for a cookie."""
    made = browser(**options)  # type: ignore[arg-type]
    assert made.get(f"{options.get('base', '')}/?token={TOKEN}").status_code == 303
    return made


def connects(client: TestClient, path: str = "/_stcore/stream", **headers: str) -> bool:
    """Return True if the app accepts a websocket."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
    url = f"ws://127.0.0.1:{PORT}{path}"
    try:
        with client.websocket_connect(url, headers={"cookie": cookies, **headers}) as websocket:
            return websocket.receive_text() == "reached"
    except WebSocketDisconnect as refused:
        return refused.code != 1008


PATHS = [
    *("/", "/monitor", "/index.html", "/static/js/main.js", "/media/a.mp4", "/_stcore/upload_file/session/file"),
    *("/_stcore/host-config", "/_stcore/metrics", "/_stcore/bidi-components/x.js", "/component/x/index.html"),
    *("/app/static/a.csv", "/eavdash-media/x", "/_stcore/healthy", "/_stcore/health/", "/x/_stcore/health", "//"),
    *("/_stcore/script-health-check", "/_stcore/agent/mcp", "/auth/login"),
]


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_no_route_is_reached(path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = browser().request(method, HERE + path)
        assert answer.status_code == 401, method
        assert "reached" not in answer.text
        assert "set-cookie" not in answer.headers
    client = entered()
    assert client.get(HERE + path).text.startswith("reached")
    assert client.put(HERE + path).text.startswith("reached")


def test_the_websocket_needs_the_cookie() -> None:
    assert not connects(browser())
    assert not connects(browser(), f"/_stcore/stream?token={TOKEN}"), "a token opens pages alone"
    assert not connects(browser(), "/_stcore/health")
    assert connects(entered())
    assert connects(entered(), origin=HERE)


def test_the_health_route_is_open_to_every_visitor_of_the_right_host() -> None:
    assert browser().get("/_stcore/health").text.startswith("reached")
    assert browser(base="/lab").get("/lab/_stcore/health").text.startswith("reached")
    assert browser(base="/lab").get("/_stcore/health").status_code == 401
    assert browser().get("/_stcore/health", headers={"host": "evil.example"}).status_code == 403
    assert browser().post("/_stcore/health").status_code == 401


@pytest.mark.parametrize(
    "token",
    ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "t%C3%B6ken", "%ff", "%00", f"{TOKEN}&token=x", "a" * 5000],
)
def test_another_token_is_refused(token: str) -> None:
    answer = browser().get(f"/?token={token}")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_token_opens_pages_but_sends_nothing() -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert browser().request(method, f"/_stcore/upload_file/a/b?token={TOKEN}").status_code == 401


def test_the_first_visit_exchanges_the_token_for_a_cookie() -> None:
    client = browser()
    answer = client.get(f"/monitor?study=a%20b&token={TOKEN}&empty=&run=1&run=2")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/monitor?study=a+b&empty=&run=1&run=2"
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"]
    assert re.match(rf"eavdash-{PORT}=[^;]+; HttpOnly; Path=/; SameSite=lax$", cookie)
    assert TOKEN not in str(answer.headers)
    assert client.get(answer.headers["location"]).text == "reached /monitor?study=a+b&empty=&run=1&run=2"
    assert "secure" in entered_cookie(browser(url=f"https://127.0.0.1:{PORT}")).lower()
    assert "Path=/lab;" in entered_cookie(browser(base="/lab"), "/lab/")


def entered_cookie(client: TestClient, path: str = "/") -> str:
    return client.get(f"{path}?token={TOKEN}").headers["set-cookie"]


def test_an_old_token_in_a_bookmark_is_taken_out_of_the_address() -> None:
    client = entered()
    answer = client.get("/monitor?token=of-yesterday&study=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/monitor?study=a")
    assert "set-cookie" not in answer.headers
    assert browser(token="").get("/monitor?token=of-yesterday").headers["location"] == "/monitor"


@pytest.mark.parametrize(
    "path", ["//evil.example/", "///evil.example", "/%5cevil.example", "//evil.example/..%2f", "/%0d%0aX: y"]
)
def test_the_way_on_never_leaves_the_app(path: str) -> None:
    answer = browser().get(f"{HERE}{path}?token={TOKEN}")
    assert answer.status_code == 303
    assert re.match(r"/(?![/\\])", answer.headers["location"])
    assert "x" not in answer.headers


def test_cookies_of_other_secrets_ports_or_old_days_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    value = dict(entered().cookies)[f"eavdash-{PORT}"]

    def opens(cookie: str, **options: object) -> bool:
        headers = {"cookie": f"eavdash-{PORT}={cookie}"}
        return browser(**options).get("/", headers=headers).status_code == 200  # type: ignore[arg-type]

    assert opens(value)
    assert opens(value, token="of the next start"), "a tab survives a restart"
    assert not opens(value, secret=b"t" * 32)
    assert not opens(value, port=PORT + 1)
    for forged in (value[:-1], ("B" if value[0] == "A" else "A") + value[1:], value.split(".")[0], TOKEN, "..", '""'):
        assert not opens(forged), forged
    day = 24 * 3600
    now = TimestampSigner.get_timestamp
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: now(self) + (edge.DAYS - 1) * day)
    assert opens(value)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: now(self) + (edge.DAYS + 1) * day)
    assert not opens(value)


def test_two_apps_on_one_host_have_cookies_of_their_own() -> None:
    names = [entered_cookie(browser(url=f"http://127.0.0.1:{port}")).split("=")[0] for port in (8501, 8502)]
    assert names == ["eavdash-8501", "eavdash-8502"]


@pytest.mark.parametrize(
    ("host", "right"),
    [
        *[(name, True) for name in ("127.0.0.1:8501", "127.0.0.1", "localhost:9000", "[::1]:8501", "LAB.example.org")],
        *[(name, False) for name in ("evil.example", "evil.example:8501", "127.0.0.1.evil.example", "0.0.0.0:8501")],
        *[(name, False) for name in ("", "127.0.0.1@evil.example", "evil.example/127.0.0.1", "127.0.0.1:x", "[::2]")],
    ],
)
def test_the_host_must_be_one_of_the_apps(host: str, right: bool) -> None:
    client = browser(token="")
    answer = client.get("/", headers={"host": host})
    assert (answer.status_code, "reached" in answer.text) == ((200, True) if right else (403, False))
    assert connects(client, host=host) == right
    assert browser().get(f"/?token={TOKEN}", headers={"host": host}).status_code == (303 if right else 403)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "http://127.0.0.1:8502", "http://127.0.0.1", "http://localhost:8501", "null", ""),
        *("http://127.0.0.1:8501.evil.example", "127.0.0.1:8501", "http://lab.example.org:8501"),
    ],
)
def test_another_origin_is_refused_with_the_cookie_too(origin: str) -> None:
    client = entered()
    assert client.get("/", headers={"origin": origin}).status_code == 403
    assert client.get("/_stcore/health", headers={"origin": origin}).status_code == 403
    assert not connects(client, origin=origin)


@pytest.mark.parametrize("secure", [False, True])
def test_the_same_origin_passes(secure: bool) -> None:
    client = entered()
    assert client.put("/", headers={"origin": HERE.replace("http", "https") if secure else HERE}).status_code == 200


def test_every_response_refuses_frames_and_sniffing() -> None:
    client = entered()
    answers = [
        *(client.get("/"), client.get("/_stcore/health"), client.get("/?token=x"), browser().get("/")),
        *(client.get("/", headers={"host": "evil.example"}), browser().get(f"/?token={TOKEN}")),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 303, 401, 403, 303]
    for answer in answers:
        assert answer.headers.get_list("content-security-policy") == ["frame-ancestors 'none'"]
        assert answer.headers.get_list("x-frame-options") == ["DENY"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_who_is_refused_reads_where_the_address_is() -> None:
    page = browser().get("/", headers={"accept": "text/html,*/*"})
    assert page.headers["content-type"].startswith("text/html")
    script = browser().get("/_stcore/host-config", headers={"accept": "*/*"})
    assert script.headers["content-type"].startswith("text/plain")
    for answer in (page, script):
        assert "?token=" in answer.text
        assert "terminal" in answer.text
        assert answer.headers["cache-control"] == "no-store"


def shown(address: str | None, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Return a page behind the check of the address that the app is served on."""
    monkeypatch.setattr("streamlit.get_option", lambda name: address if name == "server.address" else None)
    script = "import streamlit as st\nfrom eavdash.ui import edge\nedge.check_exposure()\nst.write('results')"
    return AppTest.from_string(script).run()


@pytest.mark.parametrize("address", ["0.0.0.0", "::", None, "192.168.1.5", "lab.example.org"])
def test_plain_streamlit_on_a_network_shows_nothing(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_has_token", False)
    page = shown(address, monkeypatch)
    assert "eavdash app" in page.error[0].value
    assert not page.markdown


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_plain_streamlit_on_this_machine_says_who_may_open_it(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_has_token", False)
    page = shown(address, monkeypatch)
    assert ["eavdash app" in caption.value for caption in page.sidebar.caption] == [True]
    assert page.markdown[0].value == "results"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_with_a_token_the_page_says_nothing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_has_token", True)
    page = shown(address, monkeypatch)
    assert not page.error
    assert not page.sidebar.caption
    assert page.markdown[0].value == "results"


def test_the_message_of_an_error_is_in_the_log_alone(capfd: pytest.CaptureFixture[str]) -> None:
    page = AppTest.from_string("def fail(path):\n    raise ValueError(path)\nfail('/data/subject-7')").run()
    told = str(page.exception[0].proto)
    assert "ValueError" in told
    assert "subject-7" not in told
    assert "fail" not in told
    logged = re.sub(r"\x1b\[[\d;]*m", "", "".join(capfd.readouterr()))
    assert re.search(r"Traceback[\s\S]*in fail\b[\s\S]*ValueError: /data/subject-7", logged)
