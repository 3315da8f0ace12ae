"""Caches of recordings between reruns of the pages: trial tables, health reports, previews, and disk space.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded. torch and mne are imported inside functions.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from eavdash.config.schema import StudyConfig
from eavdash.store import checkpoints_root
from eavdash.store.private import cache_folder
from eavdash.ui import allowing
from eavdash.ui.cached_results import MISSING, Stamp, file_stamp

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview
    from eavdash.data.table import TrialTable
    from eavdash.data.video.playable import Playable
    from eavdash.health.kept import KeptReport

REPORTS = 4  # health reports in memory; that of the whole EAV dataset takes about 10 MB


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


def health_report(path: str) -> KeptReport | None:
    """Return the report of the newest check of a dataset (``eavdash check``), or None."""
    from eavdash.store.paths import health_report_file

    cache = cache_folder(checkpoints_root())
    return _kept_report(path, cache, file_stamp(health_report_file(cache, path)))


@st.cache_data(ttl=60, max_entries=8, show_spinner=False)
def files_state(path: str) -> str:
    """Return the state of a dataset's recordings, at most a minute old, to compare with that of a report."""
    from eavdash.health.kept import files_state

    return files_state(dataset(path))


def forget(path: str) -> None:
    """Read a dataset and the state of its recordings again."""
    dataset.clear(path)
    files_state.clear(path)


@st.cache_data(ttl=60, max_entries=8, show_spinner=False)
def unmeasured(path: str, config: StudyConfig, subjects: Sequence[str], root: Path, checked: float) -> int:
    """Return how many files planning a study would have to open; ``checked``: when the last check ended."""
    from eavdash.data.table import select
    from eavdash.health.look import requests_of
    from eavdash.health.scan import unmeasured
    from eavdash.models.automatic import resolved

    table, (found, _) = dataset(path), resolved(config)
    chosen = select(table, found, subjects, unchecked=table.subjects).frame
    return unmeasured(requests_of(table, found, chosen, found.modalities), cache_folder(root))


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


@st.cache_resource(max_entries=REPORTS, show_spinner=False)  # not copied, unlike data
def _kept_report(path: str, cache: Path, stamp: Stamp) -> KeptReport | None:
    from eavdash.health.kept import kept

    return kept(cache, path)


@st.cache_data(ttl=600, max_entries=6, show_spinner="Reading the recordings")
def _preview(key: str, _row: dict[str, Any], config: StudyConfig, part: int) -> TrialPreview:
    from eavdash.data.preview import trial_preview

    return trial_preview(_row, config, part)
