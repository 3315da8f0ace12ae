"""All real recordings beside the checkout pass through the check, the windows and the preview."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eavdash.config.choices import COLUMN
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.data.inputs import load_windows
from eavdash.data.preview import trial_preview
from eavdash.data.table import open_table, select
from eavdash.health.check import check_dataset

CONFIG = with_settings(preset("quick"), ["vision.size=32", "vision.patch=8"])


@pytest.fixture(scope="module")
def filmed(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial table of the clips; the spoken letter is the label, the number the group."""
    path = tmp_path_factory.mktemp("video") / "trials.csv"
    clips = sorted((real_data / "video").glob("*.mpg"))
    lines = [f"1,{clip.stem},{clip.stem[3]},{clip.stem[4]},{clip}" for clip in clips]
    path.write_text("\n".join(["subject,trial,label,group,video", *lines]))
    return path


@pytest.fixture
def source(request: pytest.FixtureRequest, real_data: Path) -> Path:
    return request.getfixturevalue("filmed") if request.param == "video" else real_data / request.param


CASES = [("speech", 144, ("audio",)), ("eeg", 36, ("eeg",)), ("video", 12, ("vision", "audio"))]


@pytest.mark.parametrize(("source", "trials", "modalities"), CASES, indirect=["source"])
def test_the_check_finds_nothing_wrong(source: Path, trials: int, modalities: tuple[str, ...], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = with_settings(CONFIG, [f"audio.from_video={'true' if 'vision' in modalities else 'false'}"])
    report = check_dataset(source, lambda *at: seen.append(at), config, cache=tmp_path)
    json.loads(json.dumps(report.to_dict()))
    assert report.ok, report.findings
    assert not [f for f in report.findings if f.severity == "warning" and "labels" not in f.message]
    assert int(report.table["trials"].sum()) == trials
    assert int(report.table["complete"].sum()) == trials
    for modality in modalities:
        assert int(report.table[modality].sum()) == trials
    assert seen[-1][0] == seen[-1][1]
    again = check_dataset(source, None, config, cache=tmp_path)
    assert (again.scanned, again.reused) == (0, report.scanned)
    assert again.to_dict() == report.to_dict() | {
        k: v for k, v in again.to_dict().items() if k in ("scanned", "reused")
    }


@pytest.mark.parametrize(("source", "trials", "modalities"), CASES, indirect=["source"])
def test_windows_are_made_once(source: Path, trials: int, modalities: tuple[str, ...], tmp_path: Path) -> None:
    for modality in modalities:
        config = with_settings(CONFIG, [f"stages={modality}", "audio.from_video=true"])
        frame = select(open_table(source), config).frame
        assert len(frame) == trials
        made = load_windows(frame, modality, config, tmp_path)
        assert made.index.groupby(["subject", "trial"]).ngroups == trials
        assert made.mask.any(axis=1).all()
        assert np.isfinite(made.values[:: max(1, len(made) // 20)]).all()
        assert np.std(made.values[0]) > 0
        read: list[tuple[int, int]] = []
        again = load_windows(frame, modality, config, tmp_path, lambda *at, read=read: read.append(at))
        assert read == []
        assert again.meta["key"] == made.meta["key"]
        assert np.array_equal(again.values[-1], made.values[-1])


@pytest.mark.parametrize(("source", "trials", "modalities"), CASES, indirect=["source"])
def test_every_trial_can_be_shown(source: Path, trials: int, modalities: tuple[str, ...]) -> None:
    frame = open_table(source).frame
    shown = frame.iloc[:: max(1, len(frame) // 6)]
    for row in shown.to_dict("records"):
        preview = trial_preview(row, CONFIG)
        assert preview.errors == {}
        for modality in modalities:
            part = getattr(preview, modality)
            assert part is not None
            assert 0.5 < part.duration <= 60


def test_sound_tracks_of_real_clips_are_in_step(filmed: Path) -> None:
    """Every clip has 3 s of pictures, and a sound track that begins with them and ends with them."""
    config = with_settings(CONFIG, ["audio.from_video=true"])
    frame = select(open_table(filmed), config).frame
    assert (frame["audio"] == frame[COLUMN["vision"]]).all()
    for row in frame.to_dict("records")[:4]:
        preview = trial_preview(row, config)
        assert preview.vision is not None
        assert preview.audio is not None
        assert preview.audio.duration == pytest.approx(preview.vision.duration, abs=0.1)
        assert preview.audio.high.max() > 0.05
