"""A contact sheet: one small picture per trial, cropped as in a study, for visual inspection.

In: rows of a trial table and the study's configuration. Out: a Pillow image, trials in rows of tiles, each with its
number and the number of frames in which a face was found. Delegated to reading.py: frames; to faces.py: faces.

Only a few frames of each trial are checked, fewer than in the study: the picture is the middle one of these, cropped
with the study's margin and smoothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from eavdash.config.schema import StudyConfig, VisionConfig
from eavdash.data.cache.window_set_spec import trial_duration
from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.data.segments import segment
from eavdash.data.video import reading as video
from eavdash.data.video.faces import Tracker
from eavdash.errors import RecordingError

CHECKS = 5  # frames per trial
COLUMNS = 10
TILE = 132  # pixels, square; ten with their gaps are 1,432 pixels wide
CAPTION = 20  # pixels below a tile
_GAP = 10
_TEXT = 14  # pixels
_WHITE, _BLACK, _GREY_INK, _EMPTY = (255, 255, 255), (20, 20, 20), (100, 100, 100), (200, 200, 200)


def with_pictures(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a trial table that have a video, which tables of features are not."""
    return rows[rows["video"].map(lambda entry: bool(entry) and not is_feature_table(entry)).astype(bool)]


def contact_sheet(
    rows: pd.DataFrame, config: StudyConfig, limit: int = 60, report: Callable[[int, int], object] | None = None
) -> Image.Image:
    """Draw one tile per row of a trial table, in its order; of more than ``limit`` rows, that many, evenly spaced.

    The caption is the trial's number (after the subject's, if there are several subjects) and, with
    ``vision.crop=face``, the number of frames with a face out of those checked. A tile is grey if the trial has no
    video or it cannot be read. ``report`` is told, before each tile, how many of how many are done.

    Raises:
        DataError: ``vision.crop`` is ``face`` and the detector's package is not installed.
    """
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(int))]
    columns = max(1, min(COLUMNS, len(chosen)))
    lines = max(1, -(-len(chosen) // columns))
    size = (_GAP + columns * (TILE + _GAP), _GAP + lines * (TILE + CAPTION + _GAP))
    sheet, font = Image.new("RGB", size, _WHITE), ImageFont.load_default(_TEXT)
    draw = ImageDraw.Draw(sheet)
    several = chosen["subject"].nunique() > 1
    for n, (_, row) in enumerate(chosen.iterrows()):
        if report is not None:
            report(n, len(chosen))
        left, top = _GAP + n % columns * (TILE + _GAP), _GAP + n // columns * (TILE + CAPTION + _GAP)
        name = f"{row['subject']}/{row['trial']}" if several else str(row["trial"])
        picture, share = _tile(row, config.vision)
        if picture is None:
            draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=_EMPTY)
        else:
            sheet.paste(Image.fromarray(picture), (left, top))
        draw.text((left, top + TILE + 3), name, fill=_BLACK, font=font)
        draw.text((left + font.getlength(f"{name}  "), top + TILE + 3), share, fill=_GREY_INK, font=font)
    return sheet


def _tile(row: pd.Series[Any], vision: VisionConfig) -> tuple[np.ndarray | None, str]:
    """The middle picture of a trial (TILE, TILE, 3) uint8, None if there is none, and the share of faces as text."""
    path = str(row["video"] or "")
    if not path:
        return None, "no video"
    tracker = Tracker(replace(vision, detect_every=0.0)) if vision.crop == "face" else None
    try:
        first, stop = segment(row, "video")
        start = first or 0.0
        duration = trial_duration(path, "vision", start, stop)
        checks = 1 if duration == float("inf") else CHECKS
        times = [start + (k + 0.5) / checks * (0.0 if checks == 1 else duration) for k in range(checks)]
        pictures = video.read_frames(path, times, TILE, tracker)
    except RecordingError:
        return None, "unreadable"
    share = f"{tracker.found} of {tracker.checked}" if tracker is not None and tracker.checked else ""
    return pictures[checks // 2], share
