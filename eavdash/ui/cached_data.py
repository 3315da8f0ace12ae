"""Caches of recordings between reruns of the pages: trial tables, health reports, previews, and disk space.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded. torch and mne are imported inside functions.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from eavdash.config.schema import StudyConfig
from eavdash.store import checkpoints_root
from eavdash.store.private import cache_folder
from eavdash.ui import allowing
from eavdash.ui.cached_results import MISSING, file_stamp

if TYPE_CHECKING:
    from PIL.Image import Image

    from eavdash.data.preview import TrialPreview
    from eavdash.data.table import TrialTable
    from eavdash.data.video.playable import Playable
    from eavdash.health.report import HealthReport

REPORTS = 4  # health reports in memory; that of the whole EAV dataset takes about 10 MB


def disk_space_sentence(path: str, config: StudyConfig, subjects: Sequence[str], root: Path) -> str:
    """Return a sentence about the disk space that a study's window sets need; not cached."""
    from eavdash.data.cache.prepare import estimate, sets
    from eavdash.studies.unusable import usable_trials

    cache = cache_folder(root)
    planned, _ = sets(path, config, subjects, lambda table: usable_trials(table, config, subjects, cache).chosen)
    return estimate(planned, config, cache).sentence


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def disk_use(root: Path) -> tuple[int, int]:
    """Return the bytes used under the checkpoints folder and the bytes free on its disk."""
    existing = next(p for p in (root, *root.parents) if p.exists())
    used = sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    return used, shutil.disk_usage(existing).free


@st.cache_data(ttl=60, max_entries=8, show_spinner="Reading the trial table")
def dataset(path: str) -> TrialTable:
    """Return the trial table of a dataset folder or file; it is read again after a minute."""
    from eavdash.data.table import open_table

    table = open_table(path)
    allowing.remember(checkpoints_root(), path, table)
    return table


def health_report(path: str, report: Callable[[int, int], None] | None = None) -> HealthReport:
    """Return the health report of a dataset; it is kept until :func:`forget_health_report`.

    ``report(done, total)`` is called for the files. An exception that it raises ends the scan; the scanned files are
    kept for the next one.
    """

    from eavdash.health.check import check_dataset

    if (cached := cached_health_report(path)) is not None:
        return cached
    new = check_dataset(path, report, cache=cache_folder(checkpoints_root()))
    reports = _reports()
    reports[path] = new
    while len(reports) > REPORTS:
        reports.pop(next(iter(reports)), None)
    return new


def cached_health_report(path: str) -> HealthReport | None:
    """Return the cached health report, or None."""
    return _reports().get(path)


def forget_health_report(path: str) -> None:
    """Make :func:`health_report` scan a dataset again; unchanged files are not opened."""
    _reports().pop(path, None)
    dataset.clear(path)


@st.cache_data(ttl=600, max_entries=8, show_spinner="Detecting faces", show_time=True)
def contact_sheet(path: str, subject: str, config: StudyConfig) -> Image:
    """Return a picture with the faces of a subject's trials."""
    from eavdash.data.video import contact_sheet

    frame = dataset(path).frame
    return contact_sheet.contact_sheet(contact_sheet.with_pictures(frame[frame["subject"] == subject]), config)


def preview(row: Mapping[Any, Any], config: StudyConfig, part: int = 0) -> TrialPreview:
    """Return the player's preview of a row of the trial table; it is read again when the recordings change."""
    from eavdash.data.formats.columns import CLOCK_COLUMNS
    from eavdash.data.named_files import file_of

    files = ("eeg", "audio", "video")
    own = [c for c in CLOCK_COLUMNS if c in row]
    values = {c: row[c] for c in ("subject", "trial", "label", "start", "stop", *files, *own)}
    stamps = [file_stamp(Path(file_of(str(row[c])))) if row[c] else MISSING for c in files]
    # Hashed here, as Streamlit's hash requires UTF-8 and file names need not be UTF-8.
    content = repr((values, stamps)).encode("utf-8", "backslashreplace")
    return _preview(hashlib.sha256(content).hexdigest(), values, config, part)


def playable(trial: TrialPreview, folder: Path) -> Playable:
    """Return the files that a browser can play for a trial; files to be converted are written to ``folder`` once."""
    from eavdash.data.video import playable
    from eavdash.data.video.muxing import Cut

    video, sound = trial.vision, trial.audio
    pictures = Cut(video.path, video.start, video.duration) if video else None
    heard = Cut(sound.path, sound.start, sound.duration, sound.channel) if sound else None
    return playable.playable(pictures, heard, folder)


@st.cache_resource(show_spinner=False)
def _reports() -> dict[str, HealthReport]:
    """Reports by path, oldest first, at most :data:`REPORTS`; not ``cache_data``, as a scan draws its progress."""
    return {}


@st.cache_data(ttl=600, max_entries=6, show_spinner="Reading the recordings")
def _preview(key: str, _row: dict[str, Any], config: StudyConfig, part: int) -> TrialPreview:
    from eavdash.data.preview import trial_preview

    return trial_preview(_row, config, part)
