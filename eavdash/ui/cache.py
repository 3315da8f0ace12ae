"""Everything that the pages keep between reruns; the only module with ``st.cache_*``.

In: paths and names. Out: tables, documents, previews. Keys carry what the answer depends on (files' times and sizes),
so that nothing stale is shown; every cache is bounded. Work that needs torch or mne happens inside functions.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.config.convert import from_dict, to_dict
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.errors import EavdashError, IntegrityError
from eavdash.jobs import estimates
from eavdash.jobs.snapshot import snapshot as look
from eavdash.results import attention, columns, epochs, probes, tables
from eavdash.store import RunDir, StudyDir, checkpoints_root
from eavdash.studies import extend
from eavdash.studies import overview as studies_overview
from eavdash.ui.training import logs

if TYPE_CHECKING:
    from PIL.Image import Image

    from eavdash.data.preview import TrialPreview
    from eavdash.data.table import TrialTable
    from eavdash.data.video.playable import Playable
    from eavdash.explain.explanation import Explanation
    from eavdash.health.report import HealthReport
    from eavdash.studies.extend import Extension
    from eavdash.studies.write import Plan

Stamp = tuple[tuple[str, int, int], ...]
METHOD = "integrated_gradients"
REPORTS = 4  # health reports that are kept; that of all of EAV takes some 10 MB


def results_stamp(study: StudyDir) -> Stamp:
    """What the results of a study depend on: its runs' prediction files and the states beside them."""
    found = []
    for run in study.runs():
        try:
            predictions, status = run.predictions_file.stat(), run.status_file.stat()
        except FileNotFoundError:
            continue
        found.append((run.name, predictions.st_mtime_ns, status.st_mtime_ns))
    return tuple(found)


def predictions(study: StudyDir, baselines: bool = False) -> pd.DataFrame:
    """Test predictions of all finished runs."""
    return _predictions(str(study.path), results_stamp(study), baselines)


def scores(study: StudyDir, level: str = "trial", baselines: bool = False) -> pd.DataFrame:
    """``tables.scores``; problems with files are in ``attrs``."""
    return _scores(str(study.path), results_stamp(study), level, baselines)


def kinds(study: StudyDir, column: str, level: str = "trial") -> pd.DataFrame:
    """``tables.scores`` split by a further column of the trial table."""
    return tables.score_table(predictions(study), level, split=columns.column(study, column))


def remarks(study: StudyDir) -> tuple[list[str], list[str]]:
    """Sentences that belong beside the study's accuracy, and the names of probes that were not made."""
    files = (study.probes_file, study.splits_file, study.trials_file)
    times = tuple((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists())
    return _remarks(str(study.path), (*results_stamp(study), *times))


def room(path: str, config: StudyConfig, subjects: Sequence[str], root: Path) -> str:
    """What the window sets of a study take on disk, in a sentence; looked at anew each time, as it is asked for."""
    from eavdash.data.cache.prepare import estimate, sets

    planned, _ = sets(path, config, subjects)
    return estimate(planned, config, root / ".cache").sentence


def trials(study: StudyDir) -> pd.DataFrame:
    """``tables.trials``."""
    return _trials(str(study.path), results_stamp(study))


def heads(study: StudyDir) -> attention.Heads:
    """``results.attention.heads``: how the fusions attended, by layer and head."""
    files = (run.attention_file for run in study.runs())
    times = tuple((f.parent.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists())
    return _heads(str(study.path), (*results_stamp(study), *times))


def windows(study: StudyDir, subject: str, trial: str) -> pd.DataFrame:
    """``tables.windows`` of one trial."""
    return tables.windows_of(predictions(study), subject, trial)


def majority(study: StudyDir) -> dict[str, float]:
    """By subject, the share of the most frequent label of its test trials: what always guessing it would score."""
    table = trials(study).drop_duplicates(["subject", "trial"])
    return {str(s): float(labels.value_counts(normalize=True).max()) for s, labels in table.groupby("subject")["label"]}


def snapshot(study: StudyDir) -> pd.DataFrame:
    """The true state of every run and the seconds it has ``left`` (NaN: unknown); one look serves all open tabs."""
    return _snapshot(str(study.path)).copy(deep=False)  # pandas copies what a page changes


def snapshot_again() -> None:
    """Look at the runs, and at all studies, anew: something was just changed."""
    _snapshot.clear()
    _overview.clear()
    _extension.clear()


def overview(root: Path) -> pd.DataFrame:
    """``studies.overview`` with the archived studies, at most five seconds old."""
    return _overview(str(root))


def extension(
    study: StudyDir, subjects: Sequence[str], folds: Sequence[int] | None, seeds: Sequence[int] | None
) -> Extension:
    """What adding to a study would queue (``studies.extend.plan_extension``); nothing is written."""
    adding = (tuple(subjects) or None, None if folds is None else tuple(folds), None if seeds is None else tuple(seeds))
    return _extension(str(study.path), *adding)


def conductor(root: Path) -> str:
    """Start the queue's conductor if there is work and none is alive, for a page that stays open; why it cannot be.

    One of all tabs looks, every five seconds; a full run of the app looks each time.
    """
    return _conductor(str(root))


def damage(run: RunDir) -> list[str]:
    """Sentences about result files of a finished run that are missing or not what it wrote; checked once per file."""
    try:
        checksums = dict(run.status().get("checksums") or {})
    except IntegrityError as error:
        return [str(error)]
    stamp = []
    for name in sorted({*checksums, run.predictions_file.name}):
        file = run.path / name
        stat = file.stat() if file.exists() else None
        stamp.append((name, stat.st_size if stat else -1, stat.st_mtime_ns if stat else -1))
    return _damage(str(run.path), tuple(stamp), tuple(sorted(checksums.items())))


def searched(run: RunDir, text: str) -> logs.Found:
    """The lines of a run's log with ``text`` in them; searched again when the log has grown."""
    stat = run.log_file.stat()
    return _searched(str(run.log_file), (stat.st_size, stat.st_mtime_ns), text)


def tested(study: StudyDir) -> dict[tuple[str, int], int]:
    """Number of test trials by subject and fold (subject "" : of all subjects)."""
    try:
        stamp = study.splits_file.stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    return _tested(str(study.splits_file), stamp)


def places(settings: Execution) -> int:
    """``estimates.places``; what the machine has is asked once in ten minutes."""
    return _places(settings)


def disk_use(root: Path) -> tuple[int, int]:
    """Bytes under the checkpoints folder and bytes free on its disk."""
    return _disk_use(str(root))


def dataset(path: str) -> TrialTable:
    """The trial table of a dataset folder or file, read again after a minute."""
    return _dataset(path)


def health(path: str, report: Callable[[int, int], None] | None = None) -> HealthReport:
    """The health report of a dataset; kept until :func:`forget_health`.

    ``report(done, of)`` is told about the files. What it raises ends the scan; what was seen is kept for the next one.
    """

    from eavdash.health.check import check_dataset

    if (there := health_there(path)) is not None:
        return there
    made = check_dataset(path, report, cache=checkpoints_root() / ".cache")
    reports = _reports()
    reports[path] = made
    while len(reports) > REPORTS:
        reports.pop(next(iter(reports)), None)
    return made


def health_there(path: str) -> HealthReport | None:
    """The report that :func:`health` would give at once, if there is one."""
    return _reports().get(path)


def forget_health(path: str) -> None:
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


def plan(root: str, name: str, config: StudyConfig, selection: Selection, checkpoints: Path) -> Plan:
    """What a study would run; nothing is written."""
    return _plan(root, name, to_dict(config), selection, str(checkpoints))


def explanation(run: RunDir, subject: str, trial: str) -> Explanation | None:
    """The stored explanation of a trial by a run's present weights, or None."""
    from eavdash.explain.explanation import explanation_name

    name = explanation_name(run, subject, trial)
    arrays, receipts = run.explain_files(name, METHOD)
    if not (arrays.exists() and receipts.exists()):
        return None
    stamp = tuple(file.stat().st_mtime_ns for file in (arrays, receipts, run.status_file))
    return _explanation(str(run.path), name, stamp)


def compute_explanation(study: StudyDir, subject: str, trial: str, fold: int, seed: int) -> None:
    """Compute and store the attributions of one trial, in this process."""
    from eavdash.explain.trial import explain_trial

    explain_trial(study, subject, trial, fold=fold, seed=seed, method=METHOD)


def scalp(values: np.ndarray, channels: Sequence[str]) -> bytes | str:
    """The scalp map of one value per channel as PNG, or why there is none."""
    values = np.ascontiguousarray(values, dtype=np.float64)
    return _scalp(hashlib.sha256(values.tobytes()).hexdigest(), tuple(channels), values)


@st.cache_data(max_entries=4, show_spinner="Reading the results")
def _predictions(path: str, stamp: Stamp, baselines: bool) -> pd.DataFrame:
    return tables.predictions(StudyDir(Path(path)), baselines=baselines)


@st.cache_data(max_entries=16, show_spinner="Reading the results")
def _scores(path: str, stamp: Stamp, level: str, baselines: bool) -> pd.DataFrame:
    rows = _predictions(path, stamp, baselines)
    table = tables.score_table(rows, level)
    table.attrs["problems"] = rows.attrs["problems"]
    return table


@st.cache_data(max_entries=16, show_spinner=False)
def _remarks(path: str, stamp: Stamp) -> tuple[list[str], list[str]]:
    study = StudyDir(Path(path))
    gained = epochs.gain_sentence(epochs.epoch_gain(study))
    said = probes.sentences(study)
    return [*filter(None, [gained]), *said], probes.missing(study)


@st.cache_data(max_entries=4, show_spinner="Reading the results")
def _trials(path: str, stamp: Stamp) -> pd.DataFrame:
    return tables.trials(StudyDir(Path(path)))


@st.cache_data(max_entries=2, show_spinner="Reading the attention")
def _heads(path: str, stamp: Stamp) -> attention.Heads:
    return attention.heads(StudyDir(Path(path)))


@st.cache_resource(ttl=0.4, max_entries=16, show_spinner=False)  # a resource: a table of 10,000 runs is not copied
def _snapshot(path: str) -> pd.DataFrame:
    table = look(StudyDir(Path(path)))
    return table.assign(left=estimates.seconds_left(table))


@st.cache_data(ttl=5, max_entries=8, show_spinner=False)
def _conductor(root: str) -> str:
    from eavdash.jobs import queue

    try:
        queue.ensure_conductor(Path(root))
    except EavdashError as error:
        return str(error)
    return ""


@st.cache_data(max_entries=256, show_spinner="Checking its files")
def _damage(path: str, stamp: Stamp, checksums: tuple[tuple[str, str], ...]) -> list[str]:
    run, found = RunDir(Path(path)), []
    for name, _, _ in stamp:
        try:
            run.verify(name)
        except IntegrityError as error:
            found.append(str(error))
    return found


@st.cache_data(max_entries=16, show_spinner=False)
def _searched(path: str, stamp: tuple[int, int], text: str) -> logs.Found:
    return logs.search(Path(path), text)


@st.cache_data(ttl=5, max_entries=4, show_spinner="Looking at the studies")
def _overview(root: str) -> pd.DataFrame:
    return studies_overview.overview(Path(root), archived=True)


@st.cache_data(ttl=15, max_entries=8, show_spinner="Planning")
def _extension(
    path: str, subjects: tuple[str, ...] | None, folds: tuple[int, ...] | None, seeds: tuple[int, ...] | None
) -> Extension:
    return extend.plan_extension(StudyDir(Path(path)), subjects, folds, seeds)


@st.cache_data(max_entries=16, show_spinner=False)
def _tested(path: str, stamp: int) -> dict[tuple[str, int], int]:
    splits = pd.read_csv(path, dtype={"subject": str, "fold": int}, keep_default_na=False)
    rows = splits[splits["split"] == "test"]
    counts = Counter(zip(rows["subject"], rows["fold"].astype(int), strict=True))
    return {**counts, **Counter(("", fold) for fold in rows["fold"].astype(int))}


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def _places(settings: Execution) -> int:
    return estimates.places(settings)


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


@st.cache_data(ttl=15, max_entries=8, show_spinner="Planning")
def _plan(root: str, name: str, config: dict[str, Any], selection: Selection, checkpoints: str) -> Plan:
    from eavdash.studies.write import plan as make

    return make(root, name, from_dict(config), selection, Path(checkpoints))


@st.cache_data(max_entries=4, show_spinner="Reading the explanation")
def _explanation(run: str, trial: str, stamp: tuple[int, ...]) -> Explanation | None:
    from eavdash.explain.explanation import load_explanation

    return load_explanation(RunDir(Path(run)), trial, METHOD)


@st.cache_data(max_entries=32, show_spinner=False)
def _scalp(key: str, channels: tuple[str, ...], _values: np.ndarray) -> bytes | str:
    from eavdash.ui.figures.explain import scalp as draw

    return draw(_values, channels)
