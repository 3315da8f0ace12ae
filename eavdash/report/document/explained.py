"""The explained trials of a report: which there are, what their receipts say, and a picture of some of their maps.

In: a study's stored explanations; none is computed. Out: a table, and pictures (PNG) in which a map that failed a check
is stamped as not reliable. Faces are pictures of people: they are drawn only where recordings are simulated or the
caller asks for them; the map itself is drawn in any case.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eavdash.errors import EavdashError, IntegrityError
from eavdash.explain.check_record import Check, worst
from eavdash.explain.explanation import Explanation, explanation_name, load_explanation, stored_explanations
from eavdash.explain.method_registry import METHODS
from eavdash.explain.receipts.registry import CHECKS
from eavdash.explain.records import ExplanationDocument, StoredExplanation
from eavdash.explain.run_receipts import load_run_receipts
from eavdash.report import theme
from eavdash.report.document.contents import Contents
from eavdash.report.figures.window_maps import cells, limits, window_map
from eavdash.report.picture_fonts import styled
from eavdash.store import RunDir
from eavdash.store.record import read_record
from eavdash.text import natural_key

DRAWN = 12  # explanations whose maps are drawn; all are listed
LARGE_GAP = 0.1  # relative completeness gap above which explanations without checks count as failed


@dataclass(frozen=True)
class Explained:
    """One stored explanation for the present weights, with its checks and those of its run."""

    run: RunDir
    document: ExplanationDocument
    question: StoredExplanation
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> str:
        """The worst verdict; of explanations of earlier versions that of their sum."""
        gaps = [abs(c.get("relative_gap", 0.0)) for c in self.document.receipts.completeness]
        kind = METHODS.get(self.document.method)
        if not self.document.receipts.checks and (kind is None or kind.complete) and max(gaps, default=0.0) > LARGE_GAP:
            return "fail"
        return worst(self.checks)

    @property
    def failed(self) -> str:
        """The reason why its maps are not to be believed, in a few words; empty if no check failed."""
        if self.verdict != "fail":
            return ""
        names = [CHECKS[c.name].label if c.name in CHECKS else c.name for c in self.checks if c.verdict == "fail"]
        return f"NOT RELIABLE: {', '.join(names) or 'Completeness'}"

    @property
    def title(self) -> str:
        """The trial, the question and the method."""
        d = self.document
        why = (d.target or d.receipts.target) + (f" rather than {d.against}" if d.against else "")
        kind = METHODS.get(d.method)
        method = kind.title if kind else d.method.replace("_", " ")
        return f"Subject {d.subject}, trial {d.trial}: {theme.label(d.stage)}, why {why} ({method})"


def explained(found: Contents) -> list[Explained]:
    """Return the stored explanations of the finished runs, by subject and trial."""
    made: list[Explained] = []
    for name in found.states.loc[found.states["shown"] == "done", "run"]:
        run = found.study.run(name)
        if run.explain_dir.is_dir():
            with contextlib.suppress(EavdashError):  # a damaged run is named with the results
                made += _of_run(run)
    return sorted(made, key=lambda e: (natural_key(e.document.subject), natural_key(e.document.trial), e.question))


def _of_run(run: RunDir) -> Iterator[Explained]:
    receipts = load_run_receipts(run)
    known: dict[str, list[StoredExplanation]] = {}
    for file in sorted(run.explain_dir.glob("*.json")):
        try:
            document = read_record(file, ExplanationDocument, "explain the trial again")
        except IntegrityError:
            continue
        name = explanation_name(run, document.subject, document.trial)
        if name not in known:
            known[name] = stored_explanations(run, name)
        question = StoredExplanation(document.method, document.target, document.against, document.baseline)
        question = question if document.target else StoredExplanation(document.method)
        if question in known[name]:
            yield Explained(
                run, document, question, (*document.receipts.checks, *(receipts.checks if receipts else ()))
            )


def chosen(every: Sequence[Explained]) -> list[Explained]:
    """Return at most :data:`DRAWN` explanations, of as many subjects as possible, in order."""
    by_subject: dict[str, list[Explained]] = {}
    for each in every:
        by_subject.setdefault(each.document.subject, []).append(each)
    ranked = [(place, number, e) for number, of in enumerate(by_subject.values()) for place, e in enumerate(of)]
    taken = [e for _, _, e in sorted(ranked, key=lambda r: r[:2])[:DRAWN]]
    return [each for each in every if each in taken]


def opened(each: Explained) -> Explanation | None:
    """Return the explanation with its arrays; None if they are damaged."""
    name = explanation_name(each.run, each.document.subject, each.document.trial)
    with contextlib.suppress(EavdashError):
        return load_explanation(each.run, name, *each.question)
    return None


def check_table(each: Explained) -> pd.DataFrame:
    """Return a row per check of an explanation and of its run."""
    rows = [
        {
            "check": CHECKS[c.name].label if c.name in CHECKS else c.name,
            "verdict": c.verdict,
            "value": "" if c.value is None else f"{c.value:.3g}",
            "threshold": "" if c.threshold is None else f"{c.threshold:.3g}",
            "reason": c.reason,
        }
        for c in each.checks
    ]
    return pd.DataFrame(rows)


def maps_picture(explanation: Explanation, failed: str, faces: bool) -> bytes:
    """Return the maps of the window that adds most, a panel per modality, as PNG; ``failed`` is stamped across it."""
    with styled({}):
        return _maps(explanation, failed, faces)


def _maps(explanation: Explanation, failed: str, faces: bool) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    window = max(
        range(len(explanation.windows)),
        key=lambda n: sum(float(np.abs(a[n]).sum()) for a in explanation.attributions.values()),
    )
    shown = [m for m in explanation.windows[window].modalities if m in explanation.attributions]
    full = limits(explanation)
    fig = Figure(figsize=(3.6 * max(1, len(shown)), 2.9), dpi=96)
    FigureCanvasAgg(fig)
    for axes, modality in zip(np.atleast_1d(fig.subplots(1, max(1, len(shown)))), shown, strict=False):
        made = window_map(explanation, modality, window)
        _panel(axes, made.heat, made.values if faces else None, modality, full.get(modality, 1.0), made.times)
        axes.set_title(f"{theme.label(modality)}: {made.total:+.2f}", fontsize=8)
        if modality == "eeg" and explanation.channels:
            names = explanation.channels
            step = max(1, len(names) // 12)
            axes.set_yticks(range(0, len(names), step), [names[i] for i in range(0, len(names), step)], fontsize=5)
    span = explanation.windows[window]
    fig.suptitle(
        f"Window {span.window + 1}, {span.start:g}–{span.stop:g} s; sums in {explanation.unit}", fontsize=8, y=1.03
    )
    if failed:
        across: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 12, "fontsize": 20, "fontweight": "bold"}
        fig.text(0.5, 0.45, failed, color="#c8442c", alpha=0.75, parse_math=False, wrap=True, **across)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", facecolor="white", bbox_inches="tight")
    return buffer.getvalue()


def _panel(axes: Any, heat: np.ndarray, values: np.ndarray | None, modality: str, limit: float, t: np.ndarray) -> None:
    """Draw one modality: the mean over frames of vision, else time across and channel, column or mel upwards."""
    scale: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    axes.tick_params(labelsize=6)
    if not len(heat):
        return
    if heat.ndim == 3:
        drawn = cells(heat, modality).mean(axis=0)
        top, right = heat.shape[1:]
        extent = (0, right, top, 0)
        if values is not None and values.ndim == 4:
            axes.imshow(values[len(values) // 2], extent=extent)
        axes.imshow(drawn, extent=extent, alpha=0.55 if values is not None else 1.0, interpolation="bilinear", **scale)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    drawn = cells(heat, modality).T
    low = -0.5 if modality == "eeg" else 0.0
    rows = heat.shape[1] + low
    box = (float(t[0]), float(t[-1]), rows, low) if modality == "eeg" else (float(t[0]), float(t[-1]), low, rows)
    origin = "upper" if modality == "eeg" else "lower"
    axes.imshow(drawn, aspect="auto", extent=box, origin=origin, interpolation="nearest", **scale)
    axes.set_xlabel("s", fontsize=7)
