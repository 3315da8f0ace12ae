"""``explain --truth``: do the maps find what was planted in simulated recordings? The tables of the pointing game."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from eavdash.cli import console
from eavdash.health.report import records
from eavdash.store import StudyDir

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation
    from eavdash.explain.pointing import Pointing


class TruthTables:
    """Gathers the points of one explanation after another, then prints the tables.

    Raises:
        UsageError: there is no such file, or it is of other recordings than the ``trials`` (subject, trial).
        IntegrityError: it is damaged.
    """

    def __init__(self, study: StudyDir, path: str, trials: list[tuple[str, str]]) -> None:
        from eavdash.explain.planted_points import PlantedPoints
        from eavdash.explain.truth import read_truth, require_truth_of

        self._study, self._trials = study, trials
        self._truth = read_truth(Path(path))
        require_truth_of(study, self._truth, Path(path), trials)
        self._maker = PlantedPoints(study, self._truth)
        self._points: list[Pointing] = []

    def add(self, made: Explanation) -> None:
        """Add one explanation; raises EavdashError if its recordings cannot be read."""
        self._points += self._maker.of(made)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the table of the pointing game, and that of the noise modalities."""
        from eavdash.explain.noise_modality import noise_modalities
        from eavdash.explain.pointing import table

        noise = noise_modalities(self._study, self._truth, self._trials)
        return {"pointing": table(self._points), "noise": noise}

    def document(self) -> dict[str, list[dict[str, Any]]]:
        """Return :meth:`tables` as JSON-ready rows."""
        return {name: records(frame) for name, frame in self.tables().items()}

    def show(self) -> None:
        """Print :meth:`tables`."""
        found = self.tables()
        rows = [
            {
                "modality": row["modality"],
                "measure": row["measure"],
                "hits": _counted(row["hits"], row["n"]),
                "share (95 %)": _span(row["share"], row["low"], row["high"], row["n"]),
                "chance": f"{row['chance']:.2f}",
                "|x - baseline|": _number(row["control"]),
                "as noise": _counted(row["noise_hits"], row["noise_n"]),
            }
            for row in records(found["pointing"])
        ]
        title = "Is the highest value of the map where the evidence was planted?"
        console.print_table(pd.DataFrame(rows), "table", title=title)
        rows = [
            {
                "subject": row["subject"],
                "noise": row["noise"],
                "attention share": _number(row["share"]),
                "lowest |Shapley| (matched windows)": _counted(row["lowest"], row["windows"]),
                "rate (95 %)": _span(row["rate"], row["low"], row["high"], row["windows"]),
                "of all windows": _counted(row["lowest_all"], row["windows_all"]),
            }
            for row in records(found["noise"])
        ]
        if rows:
            console.print_table(pd.DataFrame(rows), "table", title="Does the fusion see which modality is noise?")
            if not found["noise"]["windows_all"].any():
                console.info(f"Shapley values are not computed yet: eavdash shapley {self._study.name}")


def _counted(hits: int, n: int) -> str:
    return f"{hits}/{n}" if n else "–"


def _span(share: float, low: float, high: float, n: int) -> str:
    return f"{share:.2f} ({low:.2f} to {high:.2f})" if n else "–"


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"
