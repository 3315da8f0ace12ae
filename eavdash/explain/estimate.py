"""Estimate of the time that a map takes, before it is computed.

In: a run and a method. Out: seconds per map with what they are based on: the last maps of the run, else of other runs
of the study, else of other studies with the same encoders; else a rule, from how long the encoders' training took for
each window, and from how many passes through the encoders the method's map and its checks take. Needs neither torch
nor the recordings.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eavdash.config.choices import MODALITIES
from eavdash.config.convert import recorded_config, to_dict
from eavdash.errors import EavdashError, IntegrityError
from eavdash.explain.method_registry import FORWARDS, METHODS
from eavdash.explain.records import ExplanationDocument
from eavdash.store import RunDir, StudyDir, studies
from eavdash.store.record import read_record
from eavdash.text import plural

#: Newest maps whose median time counts, and files that are read to find them.
LAST, READ = 5, 20
#: Passes forwards of a window for its checks besides maps of noisy copies: curves, and for signed maps sets of cells.
CURVES, SETS = 120, 96
NOISY = 2  # noisy copies of a window, whose maps are made again
CHECKED = 2  # windows of a trial that are checked, at most
CHANNELS = 30  # electrodes, where a run does not name them
#: Seconds for starting, reading the weights and the recordings.
START = 8.0


@dataclass(frozen=True)
class MapEstimate:
    """Seconds of one map, None if unknown, and what they are based on; ``windows`` of a trial by the rule."""

    seconds: float | None = None
    basis: str = "no such map is stored, and the training's times are of another device"

    def sentence(self, trials: int = 1) -> str:
        """Return the estimate for so many trials as a sentence."""
        if self.seconds is None:
            return f"How long {'it takes' if trials == 1 else 'they take'} is unknown: {self.basis}."
        what = "It takes" if trials == 1 else f"{plural(trials, 'map')} take"
        return f"{what} about {_text(trials * self.seconds)}, by {self.basis}."


def estimate(study: StudyDir, run: RunDir, method: str, *, receipts: bool = True, device: str = "cpu") -> MapEstimate:
    """Return the estimate for a map of a run's decision; ``receipts``: with its checks, if the method has any."""
    stage, receipts = run.config().stage, receipts and METHODS[method].attribution
    for runs, whose in _alike(study, run, stage):
        if taken := _last(runs, method, receipts):
            last = "the last such map" if len(taken) == 1 else f"the last {len(taken)} such maps"
            return MapEstimate(statistics.median(taken), f"{last} of {whose}")
    return _rule(study, run, method, receipts, device)


def _alike(study: StudyDir, run: RunDir, stage: str) -> Iterator[tuple[Iterable[RunDir], str]]:
    """Yield runs whose maps take as long, the nearest first, with a name."""
    yield [run], "this run"
    yield _of_stage(study, stage), "this study"
    with contextlib.suppress(EavdashError, KeyError):
        mine = _sizes(study)
        for other in studies(study.path.parent):
            with contextlib.suppress(EavdashError, KeyError):
                if other.path != study.path and _sizes(other) == mine:
                    yield _of_stage(other, stage), f"the study {other.name}, which has the same encoders"


def _of_stage(study: StudyDir, stage: str) -> list[RunDir]:
    found = []
    for run in study.runs():
        with contextlib.suppress(IntegrityError):
            if run.explain_dir.is_dir() and run.config().stage == stage:
                found.append(run)
    return found


def _sizes(study: StudyDir) -> list[object]:
    config = to_dict(recorded_config(study.study()))
    return [config["window"], config["fusion"], *(config[m] for m in MODALITIES)]


def _last(runs: Iterable[RunDir], method: str, receipts: bool) -> list[float]:
    """Return the seconds of the newest maps of some runs, made by the method and with or without checks."""
    files = [file for run in runs for file in run.explain_dir.glob("*.json")]
    taken: list[float] = []
    for file in sorted(files, key=_changed, reverse=True)[:READ]:
        with contextlib.suppress(IntegrityError):
            document = read_record(file, ExplanationDocument, "explain the trial again")
            made = document.receipts
            if document.method == method and made.seconds and bool(made.checks) == receipts:
                taken.append(made.seconds)
        if len(taken) == LAST:
            break
    return taken


def _changed(file: Path) -> float:
    with contextlib.suppress(OSError):
        return file.stat().st_mtime
    return 0.0


def _rule(study: StudyDir, run: RunDir, method: str, receipts: bool, device: str) -> MapEstimate:
    """Return the estimate from the training of the run's encoders."""
    info = run.config()
    encoders = [run] if info.stage != "fusion" else [study.run(info.parents[m]) for m in info.input.modalities]
    each = [_seconds_per_window(encoder, device) for encoder in encoders]
    if not each or any(seconds is None for seconds in each):
        return MapEstimate()
    windows = _windows(run)
    taken = sum(
        seconds * _passes(encoder, method, windows, receipts)
        for seconds, encoder in zip(each, encoders, strict=True)
        if seconds is not None
    )
    return MapEstimate(START + taken, "how long training takes for each window (no such map is stored)")


def _passes(encoder: RunDir, method: str, windows: float, receipts: bool) -> float:
    """Return the passes of windows through an encoder, forwards and backwards, that a trial's map takes."""
    info, kind = encoder.config(), METHODS[method]
    config = recorded_config(info)
    size = config.window * config.vision.frames_per_second, len(info.input.channels or ()) or CHANNELS
    passes = windows * kind.cost(info.stage, *size)
    if receipts:
        forwards = CURVES + (SETS if kind.signed else 0)
        passes += min(windows, CHECKED) * (forwards / FORWARDS + NOISY * kind.cost(info.stage, *size, again=True))
    return passes


def _seconds_per_window(encoder: RunDir, device: str) -> float | None:
    """Return the seconds of one window forwards and backwards; None if they are unknown on this kind of device."""
    with contextlib.suppress(EavdashError, KeyError, TypeError, ValueError):
        info = encoder.config()
        used = str((info.computed or {}).get("device", "cpu")).partition(":")[0]
        if device != "auto" and used != device.partition(":")[0]:
            return None
        train = getattr(recorded_config(info).train, info.stage)
        windows = max((info.input.windows or {})["train"], train.batch * train.epoch_steps)
        epoch = statistics.median(float(row["seconds"]) for row in encoder.metrics() if row.get("seconds"))
        return float(epoch / windows)
    return None


def _windows(run: RunDir) -> float:
    """Return the mean number of windows of a test trial."""
    import pandas as pd

    with contextlib.suppress(EavdashError, OSError, ValueError):
        rows = pd.read_parquet(run.predictions_file, columns=["subject", "trial", "split", "frame"])
        rows = rows[(rows["split"] == "test") & (rows["frame"] == -1)]
        return float(len(rows) / max(1, len(rows.drop_duplicates(["subject", "trial"]))))
    return 1.0


def _text(seconds: float) -> str:
    """Return a time that is no more exact than an estimate is: ``20 s``, ``4 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
