"""The report in a browser without a network: figures are drawn, nothing is requested, and the console stays empty."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_study import make_study
from playwright.sync_api import Page, expect

from eavdash.report.document.render import write_page

pytestmark = pytest.mark.browser


def test_the_report_opens_offline(tmp_path: Path, page: Page) -> None:
    name = '<script>document.title = "evil"</script>'
    study = make_study(tmp_path, subjects=("1", name), trials=4)
    write_page(study, tmp_path / "report.html")
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.context.set_offline(True)
    page.goto((tmp_path / "report.html").as_uri())
    plots = page.locator(".plot")
    expect(page.locator(".plot .main-svg").first).to_be_visible()
    assert page.locator(".plot.js-plotly-plot").count() == plots.count() > 4
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    assert said == []
    assert page.title() == "Report of demo"
    expect(page.get_by_text(name).first).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(media="print")
    expect(page.locator("img.static").first).to_be_visible()
