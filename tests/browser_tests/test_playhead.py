"""The player in a real browser: one playhead in sync with the video, for all combinations of modalities."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from scipy.io import savemat
from serving import Served, served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SECOND = 1000  # Playwright counts in milliseconds
RATE, FRAMES = 25, 500  # frames per second, of 20 s
DRIFT = 0.05  # seconds
TRIES = 5  # measurements: a busy machine may hold up one of them, a cursor that lags is late in all

#: A page of its own for overlays of every lane at once.
OVERLAYS = """
from pathlib import Path
import numpy as np
import streamlit as st
from eavdash.data.eeg.bandpower import band_power
from eavdash.data.eeg.electrodes import EAV_CHANNELS
from eavdash.data.video.playable import Cut, playable
from eavdash.data.preview import AudioPreview, EegPreview, TrialPreview, VideoPreview
from eavdash.data.eeg.scalp import scalp_map
from eavdash.data.video.reading import video_info
from eavdash.ui.player import Maps, Overlay, PlayerTrial, player
video = {video!r}
info, random = video_info(video), np.random.default_rng(0)
signal = random.normal(0, 10, (30, 5000)).astype("float32")
preview = TrialPreview(
    "1", "2", "calm", 0.0, 20.0, 20.0, VideoPreview(video, 0.0, 20.0, info),
    AudioPreview("", 0.0, 20.0, -np.ones(100), np.ones(100), random.normal(0, 3, (100, 64))),
    EegPreview(20.0, EAV_CHANNELS, 250.0, signal, band_power(signal, 250.0), scalp_map(EAV_CHANNELS), ""),
)
steps = np.linspace(0.5, 19.5, 20)
shapes = dict(video=(20, 8, 8), waveform=(20,), spectrogram=(20, 16), eeg=(30, 20), scalp=(20, 30))
maps = Maps(tuple(Overlay(lane, np.ones(shape), steps, "over " + lane, 0.7) for lane, shape in shapes.items()))
st.write("told", player(PlayerTrial(preview, playable(Cut(video, 0.0, 20.0), None, Path("."))), "demo", maps))
"""


def frame_of(time: float) -> int:
    """Return the grey level of the made video's frame at a time, in steps of ten."""
    return int(time * RATE + 1e-6) % 20


def make_video(path: Path, frames: int) -> str:
    """Make a 640x480 video whose frames have their number as grey level, with noise for a realistic file size."""
    noise = np.random.default_rng(0).integers(-12, 13, (480, 1280), dtype=np.int16)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"g": "50", "preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "gray"
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            grey = (30 + 10 * (n % 20) + noise[:, n % 640 : n % 640 + 640]).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p", dst_color_range="MPEG")
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.name


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of trials with all or some of the modalities."""
    folder = tmp_path_factory.mktemp("trials")
    rng = np.random.default_rng(0)
    clock = np.arange(20 * 16000) / 16000
    soundfile.write(folder / "a.wav", 0.2 * np.sin(2 * np.pi * (200 + 40 * clock) * clock), 16000, subtype="FLOAT")
    savemat(folder / "a.mat", {"seg": rng.normal(0, 20, (10000, 30, 1)).astype("float32")})
    Image.new("RGB", (64, 48), "red").save(folder / "a.png")
    video, short = make_video(folder / "a.mp4", FRAMES), make_video(folder / "short.mp4", 50)
    rows = [
        {"trial": "all", "video": video, "audio": "a.wav", "eeg": "a.mat#1"},
        {"trial": "segment", "video": video, "audio": "a.wav", "eeg": "a.mat#1", "start": 7.36, "stop": 12.36},
        {"trial": "sound", "audio": "a.wav"},
        {"trial": "brain", "eeg": "a.mat#1"},
        {"trial": "video", "video": short},
        {"trial": "longer", "video": short, "eeg": "a.mat#1"},
        {"trial": "still", "video": "a.png", "audio": "a.wav"},
    ]
    frame = pd.DataFrame([{"subject": "1", "label": "calm", **row} for row in rows])
    frame.to_csv(folder / "trials.csv", index=False)
    return folder / "trials.csv"


@pytest.fixture(scope="module")
def apps(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    folder = tmp_path_factory.mktemp("served")
    script = folder / "overlays.py"
    script.write_text(OVERLAYS.format(video=str(table.with_name("a.mp4"))))
    with served(folder, 8730) as app, served(folder, 8770, script) as overlays:
        yield {"app": app, "overlays": overlays}


@pytest.fixture(scope="module")
def page(browser: Browser, apps: dict[str, Served], table: Path) -> Iterator[Page]:
    """The trials page with the dataset open; the tests share it."""
    made = browser.new_page(viewport={"width": 1440, "height": 900})
    made.set_default_timeout(60 * SECOND)
    made.goto(apps["app"].link("trials"))
    box = made.get_by_label("Dataset", exact=True).first
    box.fill(str(table))
    box.press("Enter")
    made.locator(".player").wait_for()
    yield made
    made.close()


def open_trial(page: Page, trial: str, ready: bool = True) -> Locator:
    """Return the player of a trial, ready to play."""
    player = page.locator(".player")
    wanted = f"Player: subject 1, trial {trial}"
    if player.get_attribute("aria-label") != wanted:
        box = page.get_by_role("combobox", name=re.compile("Trial$|trial", re.IGNORECASE)).last
        box.click()
        page.get_by_role("option", name=f"{trial} (calm)").click()
    expect(player).to_have_attribute("aria-label", wanted)
    if ready and media(player):
        expect(player).to_have_attribute("data-canplay", re.compile(r"\d+"))
    if player.evaluate("player => player.classList.contains('playing')"):
        player.locator(".play").click()
    player.locator(".ruler").press("Home")
    return player


def media(player: Locator) -> str:
    """Return the name of the element that plays, "" for none."""
    return str(player.evaluate("player => player.querySelector('video[src], audio[src]')?.localName || ''"))


#: Reads, in one go: the cursor's time from where it is painted, and the clock's.
READ = """
const root = player.getRootNode(), ruler = root.querySelector('.ruler'), cursor = root.querySelector('.cursor');
const media = root.querySelector('video[src], audio[src]');
const length = Number(ruler.getAttribute('aria-valuemax')) - Number(ruler.getAttribute('aria-valuemin'));
const read = () => {
  const [over, at] = [ruler.getBoundingClientRect(), cursor.getBoundingClientRect()];
  return [((at.left + at.width / 2 - over.left) / over.width) * length, media ? media.currentTime : NaN];
};
"""


def cursor(player: Locator) -> float:
    return float(player.evaluate(f"player => {{ {READ} return read()[0]; }}"))


def sample(player: Locator, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Sample (time of the cursor, time of the media element) after each painted frame, and on a timer."""
    painted, timed = player.evaluate(
        f"""async (player, seconds) => {{ {READ}
        const painted = [], timed = [], channel = new MessageChannel();
        channel.port1.onmessage = () => painted.push(read());
        const timer = setInterval(() => timed.push(read()), 9);
        const end = performance.now() + 1000 * seconds;
        await new Promise((done) => {{
          const next = () => {{
            channel.port2.postMessage(0);
            if (performance.now() < end) requestAnimationFrame(next); else done();
          }};
          requestAnimationFrame(next);
        }});
        clearInterval(timer);
        channel.port1.close();
        return [painted, timed];
        }}""",
        seconds,
    )
    return np.array(painted), np.array(timed)


def drift(samples: np.ndarray) -> np.ndarray:
    return np.abs(samples[:, 0] - samples[:, 1])


def summary(what: str, painted: np.ndarray, timed: np.ndarray) -> str:
    words = [
        f"{name} {np.median(d):.1f} median, {np.percentile(d, 95):.1f} 95 %, {d.max():.1f} ms largest of {len(d)}"
        for name, d in (("painted:", 1000 * drift(painted)), ("at any time:", 1000 * drift(timed)))
    ]
    return f"{what}: {'; '.join(words)}"


def click_at(player: Locator, time: float, length: float, lane: str = "waveform") -> None:
    strip = player.locator(f'.lane[data-lane="{lane}"] .base')
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": box["width"] * time / length, "y": box["height"] / 2})


def test_the_cursor_is_where_the_video_is(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    player = open_trial(page, "all")
    lines = [f"20 s, 640x480: ready to play {player.get_attribute('data-canplay')} ms after the player was there"]
    assert int(player.get_attribute("data-canplay") or 10**6) < 10_000
    for speed, seconds, seeks in (("1", 2.5, ()), ("2", 2.0, ()), ("1", 0.7, (3.0, 15.0, 8.0))):
        player.locator(".ruler").press("Home")
        player.locator(".speed select").select_option(speed)
        player.locator(".ruler").press(" ")
        expect(player).to_have_class(re.compile("playing"))
        page.wait_for_function(
            "player => player.querySelector('video').currentTime > 0.05", arg=player.element_handle()
        )
        for seek in seeks or (None,):
            if seek is not None:
                click_at(player, seek, 20.0)
            for _ in range(TRIES):
                painted, timed = sample(player, seconds)
                lines.append(summary(f"{speed}x{f', sought {seek:g} s' if seek else ''}", painted, timed))
                if np.percentile(drift(painted), 95) < DRIFT:
                    break
            assert len(painted) >= 5
            assert painted[-1, 1] > painted[0, 1] + 0.2 * seconds, "it did not play"
            if seek is not None:
                assert seek - 0.1 <= painted[0, 1] < seek + 5, "it did not play from there"
            assert np.percentile(drift(painted), 95) < DRIFT, lines[-1]
            assert np.median(drift(timed)) < DRIFT, lines[-1]
        player.locator(".ruler").press(" ")
        expect(player).not_to_have_class(re.compile("playing"))
        painted, _ = sample(player, 0.2)
        assert drift(painted).max() < 0.005, "at rest they are the same"
    player.locator(".speed select").select_option("1")
    with capsys.disabled():
        print("", *lines, sep="\n  ")


def test_the_measurement_sees_a_cursor_that_lags(page: Page) -> None:
    player = open_trial(page, "all")
    width = float(player.locator(".ruler").evaluate("ruler => ruler.clientWidth"))
    player.locator(".cursor").evaluate("(c, px) => { c.style.marginLeft = px + 'px'; }", -0.08 / 20 * width - 1)
    painted, _ = sample(player, 0.1)
    player.locator(".cursor").evaluate("c => { c.style.marginLeft = ''; }")
    assert drift(painted).max() > DRIFT


def shown_frame(player: Locator) -> int:
    """Return the number (modulo 20) of the frame on the screen."""
    grey = player.locator("video").evaluate(
        """async (video) => {
        if (video.seeking) await new Promise((done) => video.addEventListener('seeked', done, { once: true }));
        const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });
        const context = canvas.getContext('2d');
        context.drawImage(video, 0, 0, 64, 48);
        const { data } = context.getImageData(0, 0, 64, 48);
        let sum = 0;
        for (let n = 0; n < data.length; n += 4) sum += data[n];
        return sum / (data.length / 4);
        }"""
    )
    return round((grey - 30) / 10)


@pytest.mark.parametrize(("trial", "start", "length"), [("all", 0.0, 20.0), ("segment", 7.36, 5.0)])
def test_time_0_is_the_trials_start_and_arrows_step_a_frame(
    page: Page, trial: str, start: float, length: float
) -> None:
    player = open_trial(page, trial)
    assert shown_frame(player) == frame_of(start)
    for _ in range(3):
        player.locator(".ruler").press("ArrowRight")
    assert cursor(player) == pytest.approx(3 / RATE, abs=0.01)
    assert shown_frame(player) == frame_of(start + 3 / RATE)
    player.locator(".ruler").press("ArrowLeft")
    assert shown_frame(player) == frame_of(start + 2 / RATE)
    player.locator(".ruler").press("Shift+ArrowRight")
    assert cursor(player) == pytest.approx(1 + 2 / RATE, abs=0.01)
    assert shown_frame(player) == frame_of(start + 1 + 2 / RATE)
    player.locator(".ruler").press("End")
    assert cursor(player) == pytest.approx(length, abs=0.01)
    player.locator(".ruler").press("Home")
    assert cursor(player) == 0


def test_dragging_over_a_lane_seeks(page: Page) -> None:
    player = open_trial(page, "all")
    for lane in ("waveform", "spectrogram", "eeg"):
        box = player.locator(f'.lane[data-lane="{lane}"] .base').bounding_box()
        assert box is not None
        y = box["y"] + 20
        page.mouse.move(box["x"] + box["width"] * 0.2, y)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.4, y, steps=3)
        assert cursor(player) == pytest.approx(8, abs=0.1)
        page.mouse.move(box["x"] + box["width"] * 0.75, y, steps=3)
        page.mouse.up()
        assert cursor(player) == pytest.approx(15, abs=0.1)
        page.mouse.move(box["x"] + 5, y)
        assert cursor(player) == pytest.approx(15, abs=0.1), "the button is up"


def test_the_time_is_reported_to_python_only_when_the_player_rests(page: Page) -> None:
    player = open_trial(page, "all")
    moment = page.get_by_text(re.compile(r"^At \d+\.\d\d s"))
    click_at(player, 5.0, 20.0)
    expect(moment).to_have_text(re.compile(r"^At (4\.9|5\.0)\d s · window [12] of 5 s · strongest delta at "))
    player.locator(".ruler").press(" ")
    expect(player).to_have_class(re.compile("playing"))
    page.wait_for_function("player => player.querySelector('video').currentTime > 6.2", arg=player.element_handle())
    expect(moment).to_have_text(re.compile(r"^At (4\.9|5\.0)"), timeout=1)
    player.locator(".ruler").press(" ")
    expect(moment).to_have_text(re.compile(r"^At ([6-9]|1\d)\."))
    assert cursor(player) > 6, "the answer's rerun leaves the player where it is"


@pytest.mark.parametrize(
    ("trial", "plays", "lanes"),
    [
        ("sound", "audio", ["waveform", "spectrogram"]),
        ("brain", "", ["eeg"]),
        ("video", "video", []),
        ("still", "audio", ["waveform", "spectrogram"]),
    ],
)
def test_every_combination_of_modalities(page: Page, trial: str, plays: str, lanes: list[str]) -> None:
    player = open_trial(page, trial)
    assert media(player) == plays
    seen = [lane.get_attribute("data-lane") for lane in player.locator(".lane").all() if lane.is_visible()]
    assert seen == lanes
    expect(player.locator(".map")).to_be_visible(visible="eeg" in lanes)
    expect(player.locator(".picture img")).to_be_visible(visible=trial == "still")
    player.locator(".ruler").press(" ")
    page.wait_for_function(
        f"player => {{ {READ} return read()[0] > 0.4; }}", arg=player.element_handle(), timeout=20 * SECOND
    )
    if plays:
        painted, _ = sample(player, 0.5)
        assert np.median(drift(painted)) < DRIFT
    player.locator(".ruler").press(" ")
    player.locator(".ruler").press("End")
    expect(player.locator(".time")).to_have_text(re.compile(r"^(\d+\.\d\d) / \1 s$"))


def test_a_trial_continues_after_its_video(page: Page) -> None:
    player = open_trial(page, "longer")
    assert media(player) == "video"
    player.locator(".ruler").press("Shift+ArrowRight")
    player.locator(".speed select").select_option("2")
    player.locator(".ruler").press(" ")
    page.wait_for_function(
        f"player => {{ {READ} return read()[0] > 3; }}", arg=player.element_handle(), timeout=20 * SECOND
    )
    player.locator(".ruler").press(" ")
    player.locator(".speed select").select_option("1")
    at = cursor(player)
    assert 3 < at < 15
    player.locator(".ruler").press("Home")
    painted, _ = sample(player, 0.1)
    assert drift(painted).max() < 0.005, "back on the video's clock"


def test_a_recording_that_cannot_be_loaded_does_not_hide_the_rest(page: Page) -> None:
    page.route("**/eavdash-media/**", lambda route: route.abort())
    player = open_trial(page, "still", ready=False)
    note = player.get_by_text("The recording cannot be played here; the rest of the trial can.")
    expect(note).to_be_visible(timeout=30 * SECOND)
    player.locator(".ruler").press(" ")
    page.wait_for_function(
        f"player => {{ {READ} return read()[0] > 0.4; }}", arg=player.element_handle(), timeout=20 * SECOND
    )
    player.locator(".ruler").press(" ")
    page.unroute("**/eavdash-media/**")
    open_trial(page, "all")
    expect(note).to_be_hidden()


def test_gain_bands_and_speed(page: Page) -> None:
    player = open_trial(page, "brain")
    traces, field = player.locator('.lane[data-lane="eeg"] .base'), player.locator(".field")
    pixels = "canvas => canvas.toDataURL()"
    before = traces.evaluate(pixels)
    player.locator(".more").click()
    assert traces.evaluate(pixels) != before
    player.locator(".less").click()
    assert traces.evaluate(pixels) == before
    drawn = {field.evaluate(pixels)}
    for band, unit in (("beta", "dB"), ("beta", "z"), ("delta", "z")):
        player.locator(".band").select_option(band)
        player.locator(".unit").select_option(unit)
        drawn.add(field.evaluate(pixels))
    player.locator(".ruler").press("End")
    drawn.add(field.evaluate(pixels))
    assert len(drawn) == 5, "each choice and each moment has its own map"
    player.locator(".band").select_option("alpha")
    player.locator(".unit").select_option("dB")
    names = player.locator(".names span").all_inner_texts()
    assert (names[0], names[-1], len(names)) == ("Fp1", "O2", 30)
    scroller = player.locator(".scroller")
    assert scroller.evaluate("s => s.scrollHeight > s.clientHeight")


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overlaps(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    player = open_trial(page, "all")
    parts = [".picture", ".scalp", ".transport", ".ruler", *(f'[data-lane="{n}"]' for n in ("waveform", "eeg"))]
    page.wait_for_function(
        "player => { const r = player.getRootNode().querySelector('.ruler').getBoundingClientRect();"
        "return r.right <= window.innerWidth && r.width > 200; }",
        arg=player.element_handle(),
    )
    boxes = [player.locator(part).first.bounding_box() for part in parts]
    page.set_viewport_size({"width": 1440, "height": 900})
    for n, one in enumerate(boxes):
        assert one is not None
        assert one["x"] >= 0
        assert one["x"] + one["width"] <= width
        for other in boxes[n + 1 :]:
            assert other is not None
            apart = [
                one["x"] + one["width"] <= other["x"] + 1 or other["x"] + other["width"] <= one["x"] + 1,
                one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1,
            ]
            assert any(apart), (one, other)


def test_overlays_are_drawn_and_can_be_hidden(browser: Browser, apps: dict[str, Served]) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(60 * SECOND)
    page.goto(apps["overlays"].link())
    player = page.locator(".player")
    player.wait_for()
    expect(player).to_have_attribute("data-canplay", re.compile(r"\d+"))
    selectors = {
        "video": ".picture",
        "waveform": '[data-lane="waveform"] .strip',
        "spectrogram": '[data-lane="spectrogram"] .strip',
        "eeg": '[data-lane="eeg"] .scroller',
        "scalp": ".map",
    }
    for lane, selector in selectors.items():
        shown = player.locator(selector)
        with_overlay = shown.screenshot()
        player.get_by_role("checkbox", name=f"over {lane}").uncheck()
        without = shown.screenshot()
        assert with_overlay != without, lane
        player.get_by_role("checkbox", name=f"over {lane}").check()
        assert shown.screenshot() == with_overlay, lane
    page.close()


def answered(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_only_the_page_that_shows_a_recording_can_read_it(
    browser: Browser, apps: dict[str, Served], table: Path
) -> None:
    page = browser.new_page()
    page.set_default_timeout(60 * SECOND)
    page.goto(apps["app"].link("trials"))
    box = page.get_by_label("Dataset", exact=True).first
    box.fill(str(table))
    box.press("Enter")
    player = page.locator(".player")
    player.wait_for()
    expect(player).to_have_attribute("data-canplay", re.compile(r"\d+"))
    url = str(player.locator("video").evaluate("video => video.src"))
    assert re.search(r"/eavdash-media/[\w-]{30,}$", url)
    ranged = "async (url) => (await fetch(url, { headers: { Range: 'bytes=0-99' } })).status"
    assert page.evaluate(ranged, url) == 206
    cookies = "; ".join(f"{c['name']}={c['value']}" for c in page.context.cookies())
    assert answered(url, Cookie=cookies) == 200
    entrance = "; ".join(c for c in cookies.split("; ") if c.startswith("eavdash-"))
    assert answered(url, Cookie=entrance) == 404, "another browser"
    assert answered(url) == 401, "a browser without the token"
    assert answered(url[:-1] + ("A" if url[-1] != "A" else "B"), Cookie=cookies) == 404
    page.close()
    for _ in range(100):
        if answered(url, Cookie=cookies) == 404:
            break
        time.sleep(0.1)
    assert answered(url, Cookie=cookies) == 404, "the page is closed"
