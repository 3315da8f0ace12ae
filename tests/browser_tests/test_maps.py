"""Maps over the recording on the page One trial, in a real browser: where they are, when, and under one playhead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from fake_study import make_explanation, make_study
from playwright.sync_api import Locator, Page, expect
from scipy.io import savemat
from serving import Served, served
from test_playhead import DRIFT, READ, TRIES, drift, make_video, sample

from eavdash.data.frozen import frozen_bytes
from eavdash.data.table import TrialTable
from eavdash.explain.explanation import save_explanation
from eavdash.results import tables
from eavdash.store import StudyDir

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
SECOND = 1000  # Playwright counts in milliseconds
CROP = (0.5, 0.25, 0.9, 0.75)  # left, top, right, bottom of the face in the frame
PLACE = (0.5, 0.75)  # the planted place of the crop, from the left and from the top: 0.7 and 0.625 of the frame
LAST = 7.5  # seconds: the end of the short last window, of a trial of 10 s
CHANNELS = ("Fp1", "Fp2", "F3", "F4", "C3", "Cz", "C4", "P3", "P4", "O1", "O2")


def explained(study: StudyDir, trial: str, row: int, predicted: str, hot: str, method: str, baseline: str) -> None:
    """Store a map with one hot place in the face, and one hot channel; the second window is short."""
    made = make_explanation(study, "s01-fusion", "1", trial)
    rates = {"vision": 1.0, "audio": 100.0, "eeg": 100.0}
    masks = {m: mask.copy() for m, mask in made.masks.items()}
    times = {}
    for m, mask in masks.items():
        mask[1, round((LAST - 5) * rates[m]) :] = False
        steps = (np.arange(mask.shape[1]) + (m == "vision") / 2) / rates[m]
        times[m] = np.where(mask, 5.0 * np.arange(2)[:, None] + steps, np.nan)
    values = {m: np.zeros_like(each) for m, each in made.attributions.items()}
    column = round(PLACE[0] * 64)
    values["vision"][:, :, row - 2 : row + 2, column - 2 : column + 2] = 1.0
    values["audio"][0] = 0.01
    values["eeg"][:, CHANNELS.index(hot)] = 0.02
    windows = (made.windows[0], made.windows[1].model_copy(update={"stop": LAST}))
    told = {"gap": 0.0, "relative_gap": 0.0, "explained": 1.0}
    known = {"predicted": predicted, "target": predicted, "method": method, "baseline": baseline}
    save_explanation(
        study.run("s01-fusion"),
        replace(
            made,
            **known,
            attributions=values,
            masks=masks,
            times=times,
            windows=windows,
            frequencies={"audio": np.geomspace(50, 7900, 128)},
            crops=np.tile(np.float32(CROP), (2, 5, 1)),
            receipts=made.receipts.model_copy(update={"completeness": [told, told]}),
        ),
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study with recordings of 10 s of two trials, two maps of the first and one of the second; the first's class."""
    folder = tmp_path_factory.mktemp("lab")
    study = make_study(folder / "checkpoints", subjects=("1",), trials=4)
    rng = np.random.default_rng(0)
    clock = np.arange(10 * 16000) / 16000
    soundfile.write(folder / "a.wav", 0.2 * np.sin(2 * np.pi * (200 + 40 * clock) * clock), 16000, subtype="FLOAT")
    savemat(folder / "a.mat", {"seg": rng.normal(0, 20, (5000, 30, 1)).astype("float32")})
    make_video(folder / "a.mp4", 250)
    decided = tables.trials(study, ["fusion"]).set_index("trial")
    files = {"video": str(folder / "a.mp4"), "audio": str(folder / "a.wav"), "eeg": f"{folder / 'a.mat'}#1"}
    rows = [
        {"subject": "1", "trial": trial, "label": decided["label"][trial], "group": trial, **files}
        for trial in ("2", "4")
    ]
    frame = pd.DataFrame(rows).assign(start=np.nan, stop=np.nan)
    study.table_file.write_bytes(frozen_bytes(TrialTable(frame, folder, "table", False, (), {})))
    down = round(PLACE[1] * 64)
    predicted = str(decided["predicted"]["2"])
    explained(study, "2", down, predicted, "Cz", "expected_gradients", "mixed")
    explained(study, "2", 8, predicted, "O1", "integrated_gradients", "mean")
    explained(study, "4", down, str(decided["predicted"]["4"]), "Cz", "expected_gradients", "mixed")
    return folder, predicted


@pytest.fixture(scope="module")
def app(lab: tuple[Path, str]) -> Iterator[Served]:
    with served(lab[0], 8790) as made:
        yield made


def opened(page: Page, app: Served, more: str = "") -> Locator:
    page.goto(app.link(f"explain?study=demo&subject=1&trial=2&method=expected_gradients-mixed{more}"))
    player = page.locator(".player").first
    expect(player).to_have_attribute("data-canplay", re.compile(r"\d+"), timeout=200 * SECOND)
    return player


#: The centre of what a canvas shows, in fractions of its size, and the rightmost column with any colour.
DRAWN = """canvas => {
  const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let [sum, x, y, last] = [0, 0, 0, -1];
  for (let n = 0; n < width * height; n++) {
    const alpha = data[4 * n + 3];
    if (!alpha) continue;
    const [column, row] = [n % width, Math.floor(n / width)];
    [sum, x, y, last] = [sum + alpha, x + alpha * column, y + alpha * row, Math.max(last, column)];
  }
  return { x: x / sum / width, y: y / sum / height, last: (last + 1) / width, hidden: canvas.hidden };
}"""


def drawn(player: Locator, selector: str) -> dict[str, float]:
    found = player.locator(f"{selector} .over").evaluate(DRAWN)
    assert isinstance(found, dict)
    return found


def seek(player: Locator, seconds: int) -> None:
    player.locator(".ruler").press("Home")
    for _ in range(seconds):
        player.locator(".ruler").press("Shift+ArrowRight")


def test_a_map_lies_over_the_planted_place_and_ends_with_the_short_last_window(page: Page, app: Served) -> None:
    player = opened(page, app)
    seek(player, 1)
    picture = drawn(player, ".picture")
    x, y = CROP[0] + PLACE[0] * (CROP[2] - CROP[0]), CROP[1] + PLACE[1] * (CROP[3] - CROP[1])
    assert (picture["x"], picture["y"]) == (pytest.approx(x, abs=0.02), pytest.approx(y, abs=0.02))
    assert drawn(player, '[data-lane="eeg"]')["last"] == pytest.approx(LAST / 10, abs=0.01)
    assert drawn(player, '[data-lane="spectrogram"]')["last"] == pytest.approx(0.498, abs=0.01), "no sound after 5 s"
    seek(player, 7)
    assert not drawn(player, ".picture")["hidden"]
    seek(player, 9)
    assert drawn(player, ".picture")["hidden"], "no window is there"
    assert abs(x - PLACE[0]) > 0.1, "a map that is laid over the middle of the frame would not pass"


def test_another_method_changes_the_map_and_leaves_the_playhead(page: Page, app: Served) -> None:
    player = opened(page, app)
    seek(player, 2)
    before = drawn(player, ".picture")
    expect(page).to_have_url(re.compile(r"[?&]time=2(\.0+\d*)?(&|$)"))
    page.get_by_text(re.compile(r"\(integrated gradients, mean\)")).click()
    page.wait_for_function(
        f"([canvas, y]) => Math.abs(({DRAWN})(canvas).y - y) > 0.1",
        arg=[player.locator(".picture .over").element_handle(), before["y"]],
    )
    assert drawn(player, ".picture")["x"] == pytest.approx(before["x"], abs=0.02)
    expect(player.locator(".time")).to_have_text(re.compile(r"^2\.00"))
    expect(page).to_have_url(re.compile(r"method=integrated_gradients-mean"))
    page.reload()
    player = page.locator(".player").first
    expect(player.locator(".time")).to_have_text(re.compile(r"^2\.00"))
    expect(page.get_by_role("combobox", name="Method")).to_have_value(re.compile("^Integrated"))


def test_the_cursor_is_where_the_video_is_with_maps_on_and_two_players(
    page: Page, app: Served, lab: tuple[Path, str]
) -> None:
    player = opened(page, app, f"&beside=map~fusion~integrated_gradients~{lab[1]}~~mean")
    other = page.locator(".player.follows")
    expect(other).to_be_visible()
    player.locator(".ruler").press(" ")
    expect(player).to_have_class(re.compile("playing"))
    page.wait_for_function("p => p.querySelector('video').currentTime > 0.05", arg=player.element_handle())
    for _ in range(TRIES):
        player.locator(".ruler").press("Home")
        painted, timed = sample(player, 1.5)
        if np.percentile(drift(painted), 95) < DRIFT:
            break
    assert painted[-1, 1] > painted[0, 1] + 0.3, "it plays"
    assert np.percentile(drift(painted), 95) < DRIFT
    assert np.median(drift(timed)) < DRIFT
    player.locator(".ruler").press(" ")
    times = [each.evaluate(f"player => {{ {READ} return read()[0]; }}") for each in (player, other)]
    assert times[0] == pytest.approx(times[1], abs=0.02), "one clock"
    other.locator(".ruler").press("Home")
    expect(player.locator(".time")).to_have_text(re.compile(r"^0\.00"))
    assert drawn(other, ".picture")["y"] != pytest.approx(drawn(player, ".picture")["y"], abs=0.05)


def test_a_channel_and_its_electrode_light_together_by_pointer_and_by_keys(page: Page, app: Served) -> None:
    player = opened(page, app)
    names = player.locator(".names span").all_inner_texts()
    lit, dot, note = (player.locator(part) for part in (".names .lit", ".dot.lit", ".lit-note"))
    strip = player.locator('[data-lane="eeg"] .base')
    strip.scroll_into_view_if_needed()
    strip.hover(position={"x": 60, "y": 18 * 2 + 9})
    expect(lit).to_have_text(names[2])
    expect(dot).to_have_count(1)
    player.locator(".map").hover()  # the centre of the head
    expect(lit).to_have_text("Cz")
    expect(note).to_have_text(re.compile(r"^Cz: [\d.]+ logits per area$"))
    assert player.locator(".names .lit").is_visible(), "its trace is scrolled into view"
    page.mouse.move(5, 5)
    expect(lit).to_have_count(0)
    player.locator(".scroller").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(lit).to_have_text(names[2])
    page.keyboard.press("Escape")
    expect(dot).to_have_count(0)


def test_maps_can_be_turned_off_and_faded(page: Page, app: Served) -> None:
    player = opened(page, app)
    seek(player, 1)
    over = player.locator('[data-lane="eeg"] .over')
    slider = player.get_by_label("Opacity")
    slider.focus()
    page.keyboard.press("Home")
    expect(over).to_have_css("opacity", "0")
    page.keyboard.press("End")
    expect(over).to_have_css("opacity", "1")
    player.get_by_label("EEG", exact=True).uncheck()
    expect(over).to_be_hidden()
    expect(player.locator(".band option").first).to_have_text("delta")
    player.locator(".ruler").press("m")
    assert drawn(player, ".picture")["hidden"]
    player.locator(".ruler").press("m")
    expect(over).to_be_visible()


def test_another_trial_has_its_own_playhead_and_they_stack_on_a_phone(page: Page, app: Served) -> None:
    player = opened(page, app, "&beside=trial~4")
    other = page.locator(".player").nth(1)
    expect(other).to_have_attribute("data-canplay", re.compile(r"\d+"))
    seek(player, 3)
    expect(other.locator(".time")).to_have_text(re.compile(r"^0\.00"))
    player.locator(".ruler").press(" ")
    expect(player).to_have_class(re.compile("playing"))
    other.locator(".play").click()
    expect(other).to_have_class(re.compile("playing"))
    expect(player).not_to_have_class(re.compile("playing"))
    other.locator(".play").click()
    for width, stacked in ((1440, False), (390, True)):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)
        first, second = player.bounding_box(), other.bounding_box()
        assert first is not None
        assert second is not None
        assert (second["y"] > first["y"] + first["height"] - 1) == stacked
        assert second["x"] + second["width"] <= width
