"""Caveats that a number or a figure keeps when it leaves the study: protocol, marks, simulated, what is unfinished.

In: a study's folder. Out: a :class:`Caveats`, as columns of a table, as a footnote, and as the caption of a figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from eavdash.config.convert import recorded_config
from eavdash.results import comparisons, marks
from eavdash.store import StudyDir

#: Version of the columns of exported tables (docs/exports.md); it grows when a column changes its meaning.
SCHEMA = 1
SIMULATED = "SIMULATED recordings: no person was recorded"


@dataclass(frozen=True)
class Caveats:
    """``unfinished``: a sentence about the runs that are not done; empty if all are."""

    study: str
    protocol: str
    marks: tuple[str, ...] = ()
    simulated: bool = False
    unfinished: str = ""

    @property
    def columns(self) -> dict[str, object]:
        """The columns that every exported table ends with."""
        return {
            "protocol": self.protocol,
            "marks": "; ".join(self.marks),
            "simulated": self.simulated,
            "schema": SCHEMA,
        }

    @property
    def footnote(self) -> str:
        """One line with all caveats, for a caption or the foot of a table."""
        parts = [
            f"Study {self.study}",
            f"protocol {self.protocol}",
            f"marks: {'; '.join(self.marks) or 'none'}",
            SIMULATED if self.simulated else "",
            "not all runs are done" if self.unfinished else "",
        ]
        return "; ".join(part for part in parts if part) + "."

    def beside(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table with :attr:`columns` at its end; a column of that name that it has already stays its own."""
        more = {name: value for name, value in self.columns.items() if name not in frame.columns}
        made = frame.assign(**more)  # type: ignore[arg-type]  # single values
        made.attrs.update(frame.attrs)
        return made


def of_study(study: StudyDir) -> Caveats:
    """Return the caveats of a study.

    Raises:
        IntegrityError: study.json or the splits cannot be read.
    """
    document = study.study()
    return Caveats(
        study.name,
        recorded_config(document).protocol.name,
        tuple(mark.text for mark in marks.study_marks(document, study)),
        document.dataset.simulated,
        comparisons.unfinished(study),
    )
