"""A contact sheet: one small picture per trial, as a study would cut it out, to be looked over by a person.

In: rows of a trial table and the study's configuration. Out: a Pillow image, trials in rows of tiles, each with its
number and in how many looks a face was found. Delegated to video.py: reading; to faces.py: faces.

A trial is looked at a few times, not as often as the study does: the picture is the middle one of those looks, cut out
with the study's margin and smoothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from eavdash.config.schema import StudyConfig, VisionConfig
from eavdash.data.inputs import trial_duration
from eavdash.data.recording import seconds
from eavdash.data.video import reading as video
from eavdash.data.video.faces import Tracker
from eavdash.errors import RecordingError

CHECKS = 5  # per trial
COLUMNS = 10
TILE = 132  # pixels, square; ten of them and their gaps are 1,432 pixels wide
CAPTION = 20  # pixels below a tile
_GAP = 10
_TEXT = 14  # pixels
_PAPER, _INK, _PENCIL, _NOTHING = (255, 255, 255), (20, 20, 20), (100, 100, 100), (200, 200, 200)


def contact_sheet(rows: pd.DataFrame, config: StudyConfig, limit: int = 60) -> Image.Image:
    """One tile per row of a trial table, in its order; if there are more than ``limit``, that many, evenly chosen.

    The caption is the trial's number (before it the subject's, where the rows have several) and, with
    ``vision.crop=face``, the looks that found a face of those that were taken. A tile is grey where the trial has no
    video or it cannot be read.

    Raises:
        DataError: ``vision.crop`` is ``face`` and the detector's package is not installed.
    """
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(int))]
    columns = max(1, min(COLUMNS, len(chosen)))
    lines = max(1, -(-len(chosen) // columns))
    size = (_GAP + columns * (TILE + _GAP), _GAP + lines * (TILE + CAPTION + _GAP))
    sheet, font = Image.new("RGB", size, _PAPER), ImageFont.load_default(_TEXT)
    draw = ImageDraw.Draw(sheet)
    several = chosen["subject"].nunique() > 1
    for n, (_, row) in enumerate(chosen.iterrows()):
        left, top = _GAP + n % columns * (TILE + _GAP), _GAP + n // columns * (TILE + CAPTION + _GAP)
        name = f"{row['subject']}/{row['trial']}" if several else str(row["trial"])
        picture, share = _tile(row, config.vision)
        if picture is None:
            draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=_NOTHING)
        else:
            sheet.paste(Image.fromarray(picture), (left, top))
        draw.text((left, top + TILE + 3), name, fill=_INK, font=font)
        draw.text((left + font.getlength(f"{name}  "), top + TILE + 3), share, fill=_PENCIL, font=font)
    return sheet


def _tile(row: pd.Series[Any], vision: VisionConfig) -> tuple[np.ndarray | None, str]:
    """The middle picture of a trial (TILE, TILE, 3) uint8, None where there is none, and the found share in words."""
    path = str(row["video"] or "")
    if not path:
        return None, "no video"
    tracker = Tracker(replace(vision, detect_every=0.0)) if vision.crop == "face" else None
    try:
        start = seconds(row["start"]) or 0.0
        duration = trial_duration(path, "vision", start, seconds(row["stop"]))
        looks = 1 if duration == float("inf") else CHECKS
        times = [start + (k + 0.5) / looks * (0.0 if looks == 1 else duration) for k in range(looks)]
        pictures = video.read_frames(path, times, TILE, tracker)
    except RecordingError:
        return None, "unreadable"
    share = f"{tracker.found} of {tracker.checked}" if tracker is not None and tracker.checked else ""
    return pictures[looks // 2], share
