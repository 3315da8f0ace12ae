"""The entrance in a real browser: from the page that a start opens to a tab that outlives the app."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import ARGUMENTS, chromium
from playwright.sync_api import Page, expect, sync_playwright
from serving import served

from eavdash.ui import server

pytestmark = [pytest.mark.browser]
SECOND = 1000  # Playwright counts in milliseconds

#: A page that uses the routes beside the websocket: media, uploads, and the address.
SCRIPT = """
import os
import numpy as np
import streamlit as st
st.button("Again")
given = st.file_uploader("Table")
st.write("process", os.getpid(), "got", given.getvalue().decode() if given else "nothing", st.query_params.to_dict())
st.image(np.zeros((30, 40, 3), "uint8"), output_format="PNG")
"""


def opening_page(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the content of the page that a start with a screen opens."""
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)

    async def read() -> str:
        async with server.opened(url):
            return Path(shown[0].removeprefix("file://")).read_text(encoding="utf-8")

    return asyncio.run(read())


def process(page: Page) -> str:
    return re.findall(r"process (\d+)", page.get_by_text(re.compile(r"process \d+")).inner_text())[0]


def test_from_the_opened_page_to_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium was found: install one to run the browser tests")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    script = tmp_path / "parts.py"
    script.write_text(SCRIPT)
    # Asyncio cannot run beside Playwright, so the page is made before.
    with served(tmp_path, 8900, script) as app:
        (tmp_path / "open.html").write_text(opening_page(app.link("?study=a"), monkeypatch), encoding="utf-8")
        port = int(urlsplit(app.url).port or 0)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
            expect.set_options(timeout=60 * SECOND)  # a busy machine is no failure
            context = browser.new_context()
            page = context.new_page()

            # Without the token there is a sentence and nothing else.
            assert page.goto(app.url) is not None
            expect(page.locator("body")).to_contain_text("?token=")
            expect(page.get_by_test_id("stApp")).to_have_count(0)

            # The opened page leads in; the token is gone from the address, and pictures and uploads work.
            page.goto((tmp_path / "open.html").as_uri())
            expect(page.get_by_text(re.compile(r"process \d+"))).to_be_visible()
            assert page.url == f"{app.url}/?study=a"
            assert page.evaluate("document.referrer") == ""
            assert page.evaluate("document.cookie.includes('eavdash')") is False
            picture = page.locator("img[src*='/media/']")
            expect(picture).to_be_visible()
            assert picture.evaluate("picture => picture.naturalWidth") == 40
            table = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"abc"}
            page.locator("input[type=file]").set_input_files(table)  # type: ignore[arg-type]
            expect(page.get_by_text(re.compile(r"got abc"))).to_be_visible()

            # No other page can show it in a frame.
            framing = context.new_page()
            framing.goto(f"{app.url}/_stcore/health")
            framing.evaluate("document.body.append(Object.assign(document.createElement('iframe'), { src: '/' }))")
            framing.wait_for_timeout(2 * SECOND)
            assert framing.frames[1].url.startswith("chrome-error:")
            framing.close()

            # The tab goes on after a restart on the same port.
            before = process(page)
            app.stop()
            with served(tmp_path, port, script) as again:
                assert again.url == app.url
                page.get_by_role("button", name="Again").click()  # enabled once it is connected
                expect(page.get_by_text(re.compile(rf"process (?!{before}\b)\d+"))).to_be_visible()
            browser.close()
