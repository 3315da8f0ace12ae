"""Preview of the splits: the number of trials for training, validation, test and scaling under each protocol.

In: a trial table, a configuration and the unusable recordings. Out: the split preview of HealthReport. Delegated to
eavdash.data.splits and gates, which a study calls in the same way: the preview matches the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eavdash.config import scaling
from eavdash.config.choices import ACROSS, COLUMN, PROTOCOLS
from eavdash.config.schema import StudyConfig
from eavdash.data.gates import check_study
from eavdash.data.splits import fold_numbers, make_splits
from eavdash.data.table import TrialTable, select
from eavdash.data.unusable import too_few, usable_rows
from eavdash.errors import EavdashError
from eavdash.health.report import PARTS, SPLIT_PREVIEW_COLUMNS
from eavdash.store.documents import LeftOutRecording
from eavdash.text import natural_order


def split_preview(
    table: TrialTable, config: StudyConfig, broken: Sequence[LeftOutRecording] = (), cache: Path | None = None
) -> pd.DataFrame:
    """Preview the splits, one row per protocol and fold; trials of ``broken`` are left out.

    ``cache``: the folder of remembered digests, for copies of a recording under two names.
    """
    rows: list[tuple[object, ...]] = []
    for name in PROTOCOLS:
        protocol = replace(config.protocol, name=name)
        if name not in ACROSS and scaling.calibration_trials(protocol.subject_scaling):
            protocol = replace(protocol, subject_scaling=scaling.OFF)
        try:
            rows += _of(table, replace(config, protocol=protocol), broken, cache)
        except EavdashError as error:
            rows.append((name, -1, 0, *(0 for _ in PARTS), str(error)))
    return pd.DataFrame(rows, columns=list(SPLIT_PREVIEW_COLUMNS))


def _of(
    table: TrialTable, config: StudyConfig, broken: Sequence[LeftOutRecording], cache: Path | None
) -> list[tuple[object, ...]]:
    name = config.protocol.name
    chosen = select(table, config, unchecked=table.subjects)
    frame = chosen.frame
    has_any = (frame[[COLUMN[m] for m in config.modalities]] != "").any(axis=1)
    few = too_few(frame, broken)
    rest = usable_rows(frame[has_any & ~frame["subject"].isin(list(few))], broken)
    splits = make_splits(rest, config.protocol)
    check_study(rest, splits.frame, config.protocol, config.modalities, cache)
    problems = {**chosen.problems, **few, **splits.problems}
    gone = natural_order(set(frame["subject"]) - set(splits.frame["subject"]) - set(problems))
    problems |= {s: f"subject {s}: no usable trial; see the findings." for s in gone}
    rows: list[tuple[object, ...]] = []
    for fold in fold_numbers(splits.frame):
        part = splits.frame[splits.frame["fold"] == fold]
        counts = part["split"].value_counts()
        trials = (int(counts.get(split, 0)) for split in PARTS)
        rows.append((name, fold, part["subject"].nunique(), *trials, ""))
    if problems:
        first = next(iter(problems.values()))
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        rows.append((name, -1, len(problems), *(0 for _ in PARTS), first + more))
    return rows
