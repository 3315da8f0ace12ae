"""The window sets of a study, prepared before training: their size on disk, and making them.

In: a dataset, a configuration, subjects. Out: exactly the sets that the runs of such a study need, so that training
finds them ready; an :class:`Estimate` before anything is written. Delegated to splits.py: the trials of each run; to
inputs.py: reading.

After an interruption, complete sets are kept; a partly read set is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eavdash.config.choices import ACROSS, COLUMN
from eavdash.config.schema import StudyConfig
from eavdash.data.cache.folders import check_disk_space, free_bytes
from eavdash.data.cache.window_set_spec import WindowSetSpec, window_set_spec
from eavdash.data.inputs import make_windows
from eavdash.data.readers.pool import ReaderPool
from eavdash.data.splits import make_splits
from eavdash.data.table import TrialTable, open_table, select
from eavdash.errors import DataError, SplitError
from eavdash.text import natural_order, size

#: The splits whose trials a run reads.
USED = ("train", "validation", "test", "calibration")
Report = Callable[[int, int, str], None]
Usable = Callable[[TrialTable], TrialTable]


@dataclass(frozen=True, eq=False)
class PlannedSet:
    """One window set of a study: the trials that a run reads in a modality. ``subject`` is "" across subjects."""

    subject: str
    modality: str
    trials: pd.DataFrame

    @property
    def name(self) -> str:
        """The set's name for display."""
        return f"{self.modality} of {f'subject {self.subject}' if self.subject else 'all subjects'}"


@dataclass(frozen=True)
class Estimate:
    """The cost of making window sets: bytes needed and free; windows and sets that are not in the cache."""

    bytes_needed: int
    bytes_free: int
    windows: int
    missing_sets: int
    sets: int

    @property
    def sentence(self) -> str:
        """The disk space needed and available, for display."""
        if not self.missing_sets:
            return f"all {self.sets} window sets are in the cache"
        return (
            f"needs {size(self.bytes_needed)}, {size(self.bytes_free)} free: {self.missing_sets} of "
            f"{self.sets} window sets are not in the cache, {self.windows} windows"
        )


def sets(
    root: str | Path, config: StudyConfig, subjects: Sequence[str] = (), usable: Usable | None = None
) -> tuple[list[PlannedSet], dict[str, str]]:
    """List the window sets needed by the runs of a study of these subjects (all if empty), and the reason for each
    unusable subject. ``usable``: from the dataset's table the trials that the study uses; None: all that are selected.

    Raises:
        UsageError, TableError, SplitError: there is nothing to train.
    """
    table = open_table(root)
    chosen = usable(table) if usable else select(table, config, subjects)
    splits = make_splits(chosen.frame, config.protocol)
    planned: dict[tuple[str, ...], PlannedSet] = {}
    for subject in [""] if config.protocol.name in ACROSS else natural_order(splits.frame["subject"]):
        for _, fold in splits.frame.groupby("fold"):
            mine = trials_of(chosen.frame, fold[fold["subject"] == subject] if subject else fold)
            for modality in config.modalities:
                recorded = mine[mine[COLUMN[modality]] != ""]
                # A run without training or test trials is not planned.
                if {"train", "test"} <= set(recorded["split"]):
                    names = (modality, *recorded["subject"], *recorded["trial"])
                    planned.setdefault(names, PlannedSet(subject, modality, recorded.drop(columns="split")))
    problems = {**chosen.problems, **splits.problems}
    if not planned:
        raise SplitError(next(iter(problems.values()), "no trial could be assigned to a fold."))
    return list(planned.values()), problems


def trials_of(frame: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """The trials that a run reads, with their ``split``: rows of ``frame`` that ``splits`` (of one fold) uses."""
    used = splits.loc[splits["split"].isin(USED), ["subject", "trial", "split"]]
    return frame.merge(used, on=["subject", "trial"], validate="one_to_one")


def estimate(
    planned: Iterable[PlannedSet], config: StudyConfig, cache: Path, jobs: int = 1, report: Report | None = None
) -> Estimate:
    """Estimate the disk space for the sets that are not in the cache. The first time, ``jobs`` threads hash all
    recordings.

    Raises:
        DataError, RecordingError: a recording's header cannot be read, or the recordings do not match.
    """
    return _estimate(_specs(planned, config, cache, jobs, report), cache)


def prepare(
    planned: Iterable[PlannedSet], config: StudyConfig, cache: Path, jobs: int = 1, report: Report | None = None
) -> Estimate:
    """Make the sets that are not in the cache, with ``jobs`` processes; return the estimate of their cost.

    ``report(done, total, what)`` counts trials.

    Raises:
        DataError: there is not enough disk space (then nothing is written), or as
            :func:`eavdash.data.inputs.load_windows`; complete sets are kept.
    """
    specs = _specs(planned, config, cache, jobs, report)
    estimated = _estimate(specs, cache)
    check_disk_space(cache, estimated.bytes_needed)
    missing = {name: w for name, w in specs.items() if not w.folder.is_dir()}
    total, before = sum(len(w.rows) for w in missing.values()), 0
    with ReaderPool(jobs) as pool:
        for name, each in missing.items():

            def read(done: int, _: int, name: str = name, before: int = before) -> None:
                if report is not None:
                    report(before + done, total, name)

            make_windows(each, pool, read)
            before += len(each.rows)
    return estimated


def _specs(
    planned: Iterable[PlannedSet], config: StudyConfig, cache: Path, jobs: int, report: Report | None
) -> dict[str, WindowSetSpec]:
    found = {}
    planned = list(planned)
    for done, each in enumerate(planned, start=1):
        name = each.name if each.name not in found else f"{each.name} ({done})"
        found[name] = window_set_spec(each.trials, each.modality, config, cache, jobs)
        if report is not None:
            report(done, len(planned), "checking the recordings")
    if not found:
        raise DataError.at("cache", expected="window sets to make", found="none", remedy="choose other subjects")
    return found


def _estimate(specs: dict[str, WindowSetSpec], cache: Path) -> Estimate:
    every = {w.key: w for w in specs.values()}  # copies of a recording share one set
    missing = [w for w in every.values() if not w.folder.is_dir()]
    for each in missing:
        each.prepare()
    return Estimate(
        sum(w.bytes for w in missing), free_bytes(cache), sum(w.count for w in missing), len(missing), len(every)
    )
