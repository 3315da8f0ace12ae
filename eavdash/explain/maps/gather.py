"""The maps of a study's explained test trials, one per trial, read from its stored explanations.

In: a study, a stage, a method and a baseline. Out: :class:`Gathered`. Only explanations of the predicted class count,
so that every trial has one map, whose class is the class that it explains. Where several folds or seeds tested a trial
it is the first one's, which ``eavdash explain`` explains too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.errors import IntegrityError
from eavdash.explain.explanation import Explanation, explanation_name, load_explanation
from eavdash.explain.maps.cells import TrialCells, bands, trial_cells, window_seconds
from eavdash.explain.maps.record import VIEWS
from eavdash.store import StudyDir

Report = Callable[[int, int, str], None]


@dataclass
class Gathered:
    """Maps of the explained trials, in the order of ``rows``, and what they share."""

    rows: list[dict[str, str]] = field(default_factory=list)  # run, subject, trial, label, predicted
    p_label: list[float] = field(default_factory=list)
    cells: list[TrialCells] = field(default_factory=list)
    channels: list[tuple[str, ...]] = field(default_factory=list)  # of each trial's EEG, empty without
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    hertz: np.ndarray = field(default_factory=lambda: np.zeros(0))
    unit: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    models: dict[str, str] = field(default_factory=dict)

    def texts(self, name: str, at: list[int]) -> list[str]:
        """Return one column of some rows."""
        return [self.rows[i][name] for i in at]

    @property
    def common_channels(self) -> tuple[str, ...]:
        """EEG channels that every trial with EEG has, in the order of the first."""
        every = [names for names in self.channels if names]
        shared = set(every[0]).intersection(*every) if every else set()
        return tuple(name for name in (every[0] if every else ()) if name in shared)

    def views(self) -> dict[str, tuple[list[int], np.ndarray]]:
        """Return by view the rows that have it and their maps (trial, ...), on the common channels."""
        found = {}
        channels = self.common_channels
        for modality in MODALITIES:
            at = [i for i, each in enumerate(self.cells) if modality in each.shares]
            maps = [self.cells[i].shares[modality] for i in at]
            if modality == "eeg" and modality not in self.columns:
                maps = [m[[self.channels[i].index(c) for c in channels]] for i, m in zip(at, maps, strict=True)]
            if not at or not maps[0].size:
                continue
            same = [n for n, each in enumerate(maps) if each.shape == maps[0].shape]
            self.left_out["other lengths or bands"] += len(at) - len(same)
            found[modality] = [at[n] for n in same], np.stack([maps[n] for n in same])
            if modality == "eeg" and modality not in self.columns:
                found["scalp"] = found[modality][0], found[modality][1].sum(axis=2)
        self.left_out += Counter()  # drops reasons without a trial
        return {view: found[view] for view in VIEWS if view in found}

    def face(self) -> np.ndarray:
        """Return the mean crop (H, W, 3) uint8, one vote per subject; empty without pictures of one size."""
        by_subject: dict[str, list[np.ndarray]] = {}
        for row, each in zip(self.rows, self.cells, strict=True):
            if each.face is not None:
                by_subject.setdefault(row["subject"], []).append(each.face)
        if len({face.shape for faces in by_subject.values() for face in faces}) != 1:
            return np.zeros((0, 0, 3), np.uint8)
        means = np.stack([np.mean(faces, axis=0) for faces in by_subject.values()])
        return np.asarray(means.mean(axis=0).round(), dtype=np.uint8)


def count_explained(study: StudyDir, trials: pd.DataFrame, method: str, baseline: str) -> int:
    """Return how many decisions (rows of ``tables.trials``) have a stored explanation; none is read."""
    found = 0
    for name, rows in trials.groupby("run", sort=False):
        run = study.run(str(name))
        alone = bool(run.config().subject)
        for subject, trial, predicted in rows[["subject", "trial", "predicted"]].itertuples(index=False):
            of = trial if alone else f"{subject}/{trial}"
            asked = [(of, method, predicted, "", baseline), *([(of, method)] if baseline == "mean" else [])]
            found += any(run.explain_files(*each)[1].exists() for each in asked)
    return found


def gather(study: StudyDir, trials: pd.DataFrame, method: str, baseline: str, report: Report) -> Gathered:
    """Read the explanations of the ``trials`` (of ``first_decisions``); missing ones are passed over."""
    found = Gathered()
    for number, row in enumerate(trials.to_dict("records")):
        asked = {name: str(row[name]) for name in ("run", "subject", "trial", "label", "predicted")}
        report(number, len(trials), f"subject {asked['subject']}, trial {asked['trial']}")
        try:
            one = _explanation(study, asked, method, baseline)
        except IntegrityError:
            found.left_out["damaged files"] += 1
            continue
        if one is None:
            continue
        if any(found.columns.setdefault(m, names) != names for m, names in one.columns.items()):
            found.left_out["other features"] += 1
            continue
        found.rows.append(asked)
        found.p_label.append(float(row[f"p_{asked['label']}"]))
        found.cells.append(trial_cells(one))
        found.channels.append(() if "eeg" in one.columns else one.channels)
        for modality in one.attributions:
            found.seconds.setdefault(modality, window_seconds(one, modality))
        if "audio" in one.frequencies and not len(found.hertz):
            found.hertz = bands(np.asarray(one.frequencies["audio"], float))
        found.unit = one.unit
        found.models.update(one.receipts.checksums)
    return found


def _explanation(study: StudyDir, row: dict[str, str], method: str, baseline: str) -> Explanation | None:
    """Return the stored explanation of a decision's class; of an earlier version where there is no other."""
    run = study.run(row["run"])
    name = explanation_name(run, row["subject"], row["trial"])
    found = load_explanation(run, name, method, row["predicted"], "", baseline)
    return load_explanation(run, name, method) if found is None and baseline == "mean" else found
