"""What the pages keep of recordings between reruns: trial tables, health reports, previews, and disk space.

Keys carry what the answer depends on (files' times and sizes), so that nothing stale is shown; every cache is bounded.
Work that needs torch or mne happens inside functions.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from eavdash.config.convert import from_dict, to_dict
from eavdash.config.schema import StudyConfig
from eavdash.store import checkpoints_root
from eavdash.ui.cached_results import Stamp

if TYPE_CHECKING:
    from PIL.Image import Image

    from eavdash.data.preview import TrialPreview
    from eavdash.data.table import TrialTable
    from eavdash.data.video.playable import Playable
    from eavdash.health.report import HealthReport

REPORTS = 4  # health reports that are kept; that of all of EAV takes some 10 MB


def disk_space_sentence(path: str, config: StudyConfig, subjects: Sequence[str], root: Path) -> str:
    """What the window sets of a study take on disk, in a sentence; looked at anew each time, as it is asked for."""
    from eavdash.data.cache.prepare import estimate, sets

    planned, _ = sets(path, config, subjects)
    return estimate(planned, config, root / ".cache").sentence


def disk_use(root: Path) -> tuple[int, int]:
    """Bytes under the checkpoints folder and bytes free on its disk."""
    return _disk_use(str(root))


def dataset(path: str) -> TrialTable:
    """The trial table of a dataset folder or file, read again after a minute."""
    return _dataset(path)


def health_report(path: str, report: Callable[[int, int], None] | None = None) -> HealthReport:
    """The health report of a dataset; kept until :func:`forget_health`.

    ``report(done, of)`` is told about the files. What it raises ends the scan; what was seen is kept for the next one.
    """

    from eavdash.health.check import check_dataset

    if (there := cached_health_report(path)) is not None:
        return there
    made = check_dataset(path, report, cache=checkpoints_root() / ".cache")
    reports = _reports()
    reports[path] = made
    while len(reports) > REPORTS:
        reports.pop(next(iter(reports)), None)
    return made


def cached_health_report(path: str) -> HealthReport | None:
    """The report that :func:`health` would give at once, if there is one."""
    return _reports().get(path)


def forget_health_report(path: str) -> None:
    """Look at a dataset's files again on the next :func:`health`; those that have not changed are not opened."""
    _reports().pop(path, None)
    _dataset.clear(path)


def contact_sheet(path: str, subject: str, config: StudyConfig) -> Image:
    """The faces of a subject's trials on one picture."""
    return _contact_sheet(path, subject, to_dict(config))


def preview(row: Mapping[Any, Any], config: StudyConfig, part: int = 0) -> TrialPreview:
    """What the player shows of the recordings of a row of the trial table, read again when they change."""
    columns = ("subject", "trial", "label", "start", "stop", "eeg", "audio", "video")
    shown = {c: row[c] for c in columns}
    # Hashed here: names of files need not be UTF-8, which Streamlit takes them for.
    content = repr((shown, _files_stamp(row))).encode("utf-8", "backslashreplace")
    return _preview(hashlib.sha256(content).hexdigest(), shown, to_dict(config), part)


def playable(shown: TrialPreview, folder: Path) -> Playable:
    """The files that a browser plays of what is shown; made in ``folder`` once, where they must be made."""
    from eavdash.data.video.muxing import Cut
    from eavdash.data.video.playable import playable as make

    video, sound = shown.vision, shown.audio
    pictures = Cut(video.path, video.start, video.duration) if video else None
    return make(pictures, Cut(sound.path, sound.start, sound.duration) if sound else None, folder)


def _files_stamp(row: Mapping[Any, Any]) -> Stamp:
    from eavdash.data.table import file_of

    found = []
    for column in ("eeg", "audio", "video"):
        file = Path(file_of(str(row[column] or "")))
        stat = file.stat() if row[column] and file.exists() else None
        found.append((column, stat.st_size if stat else -1, stat.st_mtime_ns if stat else -1))
    return tuple(found)


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def _disk_use(root: str) -> tuple[int, int]:
    there = next(p for p in (Path(root), *Path(root).parents) if p.exists())
    used = sum(p.stat().st_size for p in Path(root).rglob("*") if p.is_file() and not p.is_symlink())
    return used, shutil.disk_usage(there).free


@st.cache_data(ttl=60, max_entries=8, show_spinner="Reading the trial table")
def _dataset(path: str) -> TrialTable:
    from eavdash.data.table import open_table

    return open_table(path)


@st.cache_resource(show_spinner=False)
def _reports() -> dict[str, HealthReport]:
    """Reports by path, oldest first, at most :data:`REPORTS`; filled by hand, as a scan draws its progress."""
    return {}


@st.cache_data(ttl=600, max_entries=8, show_spinner="Looking for faces", show_time=True)
def _contact_sheet(path: str, subject: str, config: dict[str, Any]) -> Image:
    from eavdash.data.video.contact_sheet import contact_sheet as make

    frame = _dataset(path).frame
    return make(frame[(frame["subject"] == subject) & (frame["video"] != "")], from_dict(config))


@st.cache_data(ttl=600, max_entries=6, show_spinner="Reading the recordings")
def _preview(key: str, _row: dict[str, Any], config: dict[str, Any], part: int) -> TrialPreview:
    from eavdash.data.preview import trial_preview

    return trial_preview(_row, from_dict(config), part)
