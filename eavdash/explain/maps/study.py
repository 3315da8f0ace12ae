"""Mean maps of a study from its stored explanations, with their tests and the trials that are unlike the others.

In: a study, a stage, a method and a baseline. Out: :class:`~eavdash.explain.maps.record.StudyMaps`.
"""

from __future__ import annotations

import math

import numpy as np

from eavdash.errors import UsageError
from eavdash.explain.baselines import baseline_of
from eavdash.explain.maps.gather import Gathered, Report, gather
from eavdash.explain.maps.permutation import MapTest, compare_classes
from eavdash.explain.maps.record import MappedTrial, MapsDocument, StudyMaps, ViewTest
from eavdash.explain.maps.typical import distances
from eavdash.explain.question import METHOD
from eavdash.results import tables
from eavdash.results.decision import first_decisions
from eavdash.results.paired import ALPHA
from eavdash.store import StudyDir
from eavdash.text import natural_order


def make_maps(
    study: StudyDir,
    stage: str = "",
    method: str = METHOD,
    baseline: str = "",
    report: Report = lambda done, total, doing: None,
) -> StudyMaps:
    """Return the mean maps of a stage's decisions; without a stage those of fusion, or of the first modality.

    Raises:
        UsageError: there is no such method, or no trial is explained.
    """
    baseline = baseline_of(method, baseline)
    trials = first_decisions(tables.trials(study, [stage] if stage else None), stage)
    stage = str(trials["stage"].iloc[0]) if len(trials) else stage
    found = gather(study, trials, method, baseline, report)
    if not found.rows:
        raise UsageError.at(
            f"study {study.name}",
            expected=f"explained test trials of {stage or 'a finished run'} ({method}, baseline {baseline})",
            found="damaged explanations only" if found.left_out else "none",
            remedy=f"explain them first: eavdash explain {study.name} --trials all",
        )
    report(len(trials), len(trials), "comparing the classes")
    classes = study.study().classes
    subjects = natural_order(row["subject"] for row in found.rows)
    views = found.views()
    sums, counts, p, tests = {}, {}, {}, []
    for view, (at, maps) in views.items():
        sums[view], counts[view] = _totals(found, at, maps, subjects, classes)
        who, what = found.texts("subject", at), found.texts("predicted", at)
        compared = compare_classes(maps, who, what, [name for name in classes if name in what])
        nothing = np.full(maps.shape[1:], np.nan)
        p[view] = np.stack([compared[c].p if c in compared else nothing for c in classes]).astype(np.float32)
        tests += [_test(view, name, one) for name, one in compared.items()]
    document = MapsDocument(
        stage=stage,
        method=method,
        baseline=baseline,
        unit=found.unit,
        classes=classes,
        subjects=subjects,
        views=tuple(views),
        channels=found.common_channels,
        columns=found.columns,
        seconds=found.seconds,
        sums=_by_modality(found, subjects, "sums"),
        sizes=_by_modality(found, subjects, "sizes"),
        tests=tuple(tests),
        trials=_trials(found, views),
        tested=len(trials),
        left_out=dict(found.left_out),
        models=found.models,
        arrays="",
    )
    return StudyMaps(document, sums, counts, p, _places(found.common_channels), found.hertz, found.face())


def _totals(
    found: Gathered, at: list[int], maps: np.ndarray, subjects: tuple[str, ...], classes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums (subject, class, outcome, ...) of maps, and the numbers of trials (subject, class, outcome)."""
    counts = np.zeros((len(subjects), len(classes), 2), np.int32)
    sums = np.zeros((*counts.shape, *maps.shape[1:]), np.float32)
    for i, one in zip(at, maps, strict=True):
        row = found.rows[i]
        place = subjects.index(row["subject"]), classes.index(row["predicted"]), int(row["label"] == row["predicted"])
        sums[place] += one
        counts[place] += 1
    return sums, counts


def _test(view: str, name: str, one: MapTest) -> ViewTest:
    return ViewTest(
        view=view,
        label=name,
        **{key: getattr(one, key) for key in ("subjects", "trials", "exchanged", "too_few")},
        p=one.least_p,
        cells=int((one.p < ALPHA).sum()),
    )


def _by_modality(found: Gathered, subjects: tuple[str, ...], name: str) -> dict[str, float]:
    """Return the mean over subjects of their trials' mean ``sums`` or ``sizes``, by modality."""
    out = {}
    for modality in dict.fromkeys(m for each in found.cells for m in each.shares):
        values: dict[str, list[float]] = {}
        for row, each in zip(found.rows, found.cells, strict=True):
            if modality in each.shares:
                values.setdefault(row["subject"], []).append(getattr(each, name)[modality])
        out[modality] = float(np.mean([np.mean(values[s]) for s in subjects if s in values]))
    return out


def _trials(found: Gathered, views: dict[str, tuple[list[int], np.ndarray]]) -> tuple[MappedTrial, ...]:
    """Return the explained trials with their distances."""
    by_view: list[dict[str, float]] = [{} for _ in found.rows]
    for view, (at, maps) in views.items():
        away = distances(maps, found.texts("subject", at), found.texts("predicted", at))
        for i, value in zip(at, away.tolist(), strict=True):
            if math.isfinite(value):
                by_view[i][view] = value
    for of, each in zip(by_view, found.cells, strict=True):
        modalities = [m for m in each.sizes if m in of]
        if modalities:
            of["all"] = float(np.average([of[m] for m in modalities], weights=[each.sizes[m] for m in modalities]))
    return tuple(
        MappedTrial(**row, p_label=p, distances=of)
        for row, p, of in zip(found.rows, found.p_label, by_view, strict=True)
    )


def _places(channels: tuple[str, ...]) -> np.ndarray:
    """Return where channels are on a head of radius 1, seen from above, nose up; NaN for unknown ones."""
    from eavdash.data.eeg.electrodes import montage, system_of

    places = np.full((len(channels), 2), np.nan)
    if channels:
        positions = montage(system_of(channels)).get_positions()["ch_pos"]
        for number, name in enumerate(channels):
            if name in positions:
                x, y, z = positions[name]
                length = float(np.hypot(x, y)) or 1.0
                places[number] = np.array([x, y]) / length * np.arctan2(length, z) / (np.pi / 2)
    return places
