"""The server's additions to ``streamlit run``: what it starts, the address it prints and opens, page links as the first
request, and the private route for recordings per session."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from failing import fails

from eavdash.errors import OutsideError, RecordingError
from eavdash.ui import connections, edge, media, server

CONTENT = bytes(range(256)) * 40
SESSION, COOKIE = "a-session", "2|00000000|00112233445566778899aabbccddeeff|1700000000"
OTHER_COOKIE = "2|00000000|ff112233445566778899aabbccddeeff|1700000000"
#: The same secret as COOKIE with another mask, as the browser may have in a later request.
MASKED_COOKIE = "2|01010101|01102332455467768998abbacddceffe|1700000000"


def test_app_py_routes_from_the_first_request_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web import bootstrap

    served: dict[str, Any] = {}

    class App:
        def __init__(self, script: str, **parts: Any) -> None:
            served.update(parts, script=script)

        def run(self, config: dict[str, Any]) -> None:
            served.update(config)
            raise KeyboardInterrupt  # as uvicorn ends after Ctrl-C

    monkeypatch.setattr(PagesManager, "uses_pages_directory", None)
    monkeypatch.setattr(uvicorn, "Config", uvicorn.Config)
    monkeypatch.setattr(streamlit, "App", App)
    monkeypatch.setattr(bootstrap, "load_config_options", lambda settings: None)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    for module, names in ((media, ["_served"]), (edge, ["_has_token", "_in_place"])):
        for name in names:
            monkeypatch.setattr(module, name, False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("STREAMLIT_SERVER_MAX_UPLOAD_SIZE", "7")
    assert server.main(["app.py", "--address", "127.0.0.1", "--port", "8501", "--allowed-hosts", "a", "b"]) == 0
    assert PagesManager.uses_pages_directory is False
    assert uvicorn.Config is connections.Config
    assert [route.path for route in served["routes"]] == ["/eavdash-media/{token:path}"]
    assert [part.cls for part in served["middleware"]] == [edge.Edge]
    assert (served["server.allowedHosts"], served["server.address"]) == (["a", "b"], "127.0.0.1")
    assert served["server.maxUploadSize"] == 7, "Streamlit's environment variables hold as for its own command"
    assert edge._has_token


def test_an_unsafe_secret_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "eavdash").mkdir()
    (tmp_path / "eavdash").chmod(0o755)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert server.main(["app.py", "--address", "127.0.0.1", "--port", "8501", "--allowed-hosts", "a"]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bound", "names", "base", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1", "lab"], "", "http://127.0.0.1:8501/"),
        ("::1", ["127.0.0.1", "::1"], "", "http://[::1]:8501/"),
        ("0.0.0.0", ["127.0.0.1", "lab"], "/lab/eav/", "http://lab:8501/lab/eav/"),
    ],
)
def test_the_address_has_host_base_path_and_token(
    bound: str, names: list[str], base: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"server.baseUrlPath": base, "browser.serverPort": 8501}
    monkeypatch.setattr("streamlit.config.get_option", options.get)
    assert server.address(bound, names, "") == expected
    assert server.address(bound, names, "a b") == f"{expected}?token=a+b"


def test_a_browser_is_opened_without_the_token_among_its_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("webbrowser.open", shown.append)

    async def session() -> tuple[str, int]:
        async with server.opened("http://127.0.0.1:8501/?token=x&y"):
            page = Path(shown[0].removeprefix("file://"))
            return page.read_text(), page.stat().st_mode & 0o777

    text, mode = asyncio.run(session())
    assert "url=http://127.0.0.1:8501/?token=x&amp;y" in text
    assert (mode, "token" in shown[0]) == (0o600, False)
    assert list((tmp_path / "eavdash").iterdir()) == []


class Answer:
    """A response of the tested app."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status = messages[0]["status"]
        self.headers = {k.decode().lower(): v.decode() for k, v in messages[0]["headers"]}
        self.body = b"".join(m.get("body", b"") for m in messages[1:])


def ask(path: str, *, method: str = "GET", cookie: str = COOKIE, **headers: str) -> Answer:
    """Send one request through Streamlit's own middleware to the route."""
    from starlette.applications import Starlette
    from streamlit.web.server.starlette.starlette_app import create_streamlit_middleware

    app = Starlette(routes=media.routes(), middleware=create_streamlit_middleware())
    messages: list[dict[str, Any]] = []
    given = {"host": "127.0.0.1", "cookie": f"_streamlit_xsrf={cookie}" if cookie else "", **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items() if v],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    waiting = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in waiting:
            return message
        await asyncio.Event().wait()  # the browser stays
        raise AssertionError("unreachable")

    async def send(message: Any) -> None:
        messages.append(dict(message))

    asyncio.run(app(scope, receive, send))
    return Answer(messages)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The connected sessions; tokens are removed afterwards."""
    alive = {SESSION}
    monkeypatch.setattr(media, "_entries", {})
    monkeypatch.setattr(media, "_served", False)
    monkeypatch.setattr(media, "_alive", alive.__contains__)
    return alive


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(CONTENT)
    return path


def test_a_recording_reaches_its_session(sessions: set[str], clip: Path) -> None:
    token = media.register(clip, SESSION, COOKIE)
    assert len(token) >= 32
    answer = ask(f"/eavdash-media/{token}")
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "content-encoding" not in answer.headers
    head = ask(f"/eavdash-media/{token}", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-9", 0, 9), ("bytes=100-", 100, 10239), ("bytes=-5", 10235, 10239)]
)
def test_ranges(sessions: set[str], clip: Path, asked: str, first: int, last: int) -> None:
    answer = ask(f"/eavdash-media/{media.register(clip, SESSION, COOKIE)}", range=asked)
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.body == CONTENT[first : last + 1]


def test_a_range_beyond_the_end(sessions: set[str], clip: Path) -> None:
    answer = ask(f"/eavdash-media/{media.register(clip, SESSION, COOKIE)}", range="bytes=99999-")
    assert answer.status == 416
    assert answer.headers["content-range"].endswith(f"*/{len(CONTENT)}")


def nothing(answer: Answer) -> bool:
    """Return True if an answer reveals nothing."""
    content = " ".join(answer.headers.values()).encode() + answer.body
    return answer.status in (400, 404, 405) and b"a.mp4" not in content and b"\x01\x02\x03" not in content


def test_tokens_end_with_their_session(sessions: set[str], clip: Path) -> None:
    token = media.register(clip, SESSION, COOKIE)
    assert ask(f"/eavdash-media/{token}").status == 200
    sessions.clear()
    assert nothing(ask(f"/eavdash-media/{token}"))
    sessions.add("another")
    media.register(clip, "another", COOKIE)
    assert token not in media._entries, "what no session can ask for is forgotten"


def test_tokens_belong_to_one_browser(sessions: set[str], clip: Path) -> None:
    path = f"/eavdash-media/{media.register(clip, SESSION, COOKIE)}"
    assert ask(path, cookie=MASKED_COOKIE).status == 200
    for other in ("", OTHER_COOKIE, "2|zz", "nonsense"):
        assert nothing(ask(path, cookie=other)), other
    unbound = f"/eavdash-media/{media.register(clip, SESSION, '')}"
    assert ask(unbound, cookie="").status == 200, "without XSRF protection there is no cookie to bind to"


def test_other_requests_are_not_found(sessions: set[str], clip: Path) -> None:
    token = media.register(clip, SESSION, COOKIE)
    wanted = [
        *("", "x", token[:-1], token.swapcase(), f"{token}/", f"{token}/a.mp4", str(clip), clip.name),
        *(f"../{clip.name}", f"{token}/../../{clip.name}", "..%2f..%2fetc/passwd", "/etc/passwd", "%00", "a\\b"),
    ]
    for name in wanted:
        answer = ask(f"/eavdash-media/{name}")
        assert nothing(answer), name
        assert "access-control-allow-origin" not in answer.headers
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert nothing(ask(f"/eavdash-media/{token}", method=method)), method


def test_a_deleted_file_or_a_folder_is_not_found(sessions: set[str], clip: Path, tmp_path: Path) -> None:
    token = media.register(clip, SESSION, COOKIE)
    with fails(RecordingError, where=str(tmp_path), found="a folder"):
        media.register(tmp_path, SESSION, COOKIE)
    clip.unlink()
    assert nothing(ask(f"/eavdash-media/{token}"))


def test_what_takes_the_name_of_a_registered_file_is_not_served(sessions: set[str], clip: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"not yours")
    for replace in (Path.symlink_to, Path.hardlink_to):
        path = f"/eavdash-media/{media.register(clip, SESSION, COOKIE)}"
        assert ask(path).status == 200
        clip.rename(tmp_path / "kept.mp4")
        replace(clip, secret)
        assert nothing(ask(path))
        clip.unlink()
        (tmp_path / "kept.mp4").rename(clip)
    assert ask(path).body == CONTENT, "the file is back"


def test_only_files_that_the_app_may_read_get_a_url(
    sessions: set[str], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/eavdash-media/{media.register(clip, SESSION, COOKIE)}"
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("EAVDASH_DATA", json.dumps([str(tmp_path / "mine")]))
    (tmp_path / "mine" / "link.mp4").symlink_to(clip)
    for file in (clip, tmp_path / "mine" / "link.mp4", tmp_path / "mine" / ".." / "a.mp4"):
        with fails(OutsideError, found=str(clip) if file.is_symlink() else "outside"):
            media.register(file, SESSION, COOKIE)
    assert nothing(ask(path)), "also what was registered before"


def test_a_rerun_keeps_the_url_and_a_session_has_a_maximum(sessions: set[str], clip: Path) -> None:
    token = media.register(clip, SESSION, COOKIE)
    assert media.register(clip, SESSION, COOKIE) == token
    assert media.register(clip, SESSION, OTHER_COOKIE) != token
    sessions.add("second")
    foreign = media.register(clip, "second", COOKIE)
    assert foreign != token
    files = [clip.with_name(f"{n}.mp4") for n in range(media.PER_SESSION)]
    for file in files:
        file.write_bytes(CONTENT)
    others = [media.register(file, SESSION, COOKIE) for file in files]
    assert token not in media._entries
    assert foreign in media._entries
    assert set(others) <= set(media._entries)
    assert len([e for e in media._entries.values() if e.session == SESSION]) == media.PER_SESSION


def test_a_base_path_is_prepended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_served", False)
    monkeypatch.setattr("streamlit.get_option", lambda name: "/lab/eav/" if name == "server.baseUrlPath" else None)
    assert media.routes()[0].path == "/lab/eav/eavdash-media/{token:path}"  # type: ignore[attr-defined]
    assert media._with_base_path("/media/x.mp4") == "/lab/eav/media/x.mp4"


def test_outside_a_session_there_is_no_url(clip: Path) -> None:
    assert media.address(clip, "player") == ""
