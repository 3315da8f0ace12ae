"""The tables of the pages of results as files, with the study's caveats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from eavdash.report import latex
from eavdash.results import left_out
from eavdash.results.paired import Comparison
from eavdash.store import StudyDir
from eavdash.store.documents import StudyDocument
from eavdash.ui import downloads
from eavdash.ui.results.choices import PAGE, Choices


def scores_menu(study: StudyDir, table: pd.DataFrame, document: StudyDocument, chosen: Choices) -> None:
    """Show the menu of the scores per subject and stage."""
    counted = left_out.with_counts(table, document.left_out)
    downloads.table_menu(
        counted,
        f"{PAGE}_table",
        f"{study.name}-{chosen.level}",
        study,
        lambda about: latex.score_table(table, about, chosen.level, chosen.metric),
    )


def comparisons_menu(
    study: StudyDir, rows: Sequence[Comparison], key: str, name: str, more: Mapping[str, Any] | None = None
) -> None:
    """Show the menu of comparisons, with all their numbers; ``name``: of the files; ``more``: columns after them."""
    frame = pd.DataFrame([vars(row) for row in rows])
    for column, values in (more or {}).items():
        frame[column] = values
    downloads.table_menu(
        frame,
        key,
        f"{study.name}-{name}",
        study,
        lambda about: latex.plain_table(frame, about, "Paired comparisons, as fractions.", name),
    )
