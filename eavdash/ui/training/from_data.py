"""The limits that a dataset sets to a study: the stages with recordings, and the folds that its groups make.

In: a dataset and the settings that choose its trials. Out: the values with which the launch form starts, and sentences
for the fields that ask for more.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import streamlit as st

from eavdash.config.choices import ACROSS, FOLDED, STAGES
from eavdash.config.presets import advice
from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError
from eavdash.ui import cached_data

if TYPE_CHECKING:
    import pandas as pd


def allowed(path: str, config: StudyConfig) -> list[str]:
    """Return ``key=value`` settings: the stages that have recordings, and no more folds than the trials make."""
    found = _facts(path, config)
    if found is None:
        return []
    stages, folds, _, _ = found
    settings = [f"stages={','.join(stages)}"] if stages else []
    most = max(folds, default=0)
    if config.protocol.name in FOLDED and 2 <= most < config.protocol.folds:
        settings.append(f"protocol.folds={most}")
    return settings


def preset_advice(path: str) -> str:
    """Return a sentence about which preset to take, from the trials that a study of this dataset uses by default."""
    found = _facts(path, StudyConfig())
    return advice(found[2], found[3]) if found and found[2] else ""


def untrained(path: str, config: StudyConfig) -> list[str]:
    """Return the notes of a plan about stages that are asked for and cannot be trained."""
    from eavdash.studies.runs import recorded_stages

    with suppress(EavdashError):
        return recorded_stages(config, _frame(path, config))[1]
    return []


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _facts(path: str, config: StudyConfig) -> tuple[list[str], list[int], int, int] | None:
    """Return the stages with recordings, the folds of each subject, the subjects, and their median number of trials.

    None if the dataset has no trial with these settings.
    """
    from eavdash.data.splits import block_folds, group_folds
    from eavdash.studies.runs import recorded_stages

    try:
        frame = _frame(path, config)
    except EavdashError:
        return None
    stages, _ = recorded_stages(config, frame)
    asked = config.protocol.folds
    if config.protocol.name in ACROSS:
        folds = [min(asked, frame["subject"].nunique())]
    else:
        deal = block_folds if config.protocol.name == "blocks" else group_folds
        folds = [1 + max(deal(rows, asked).values(), default=0) for _, rows in frame.groupby("subject")]
    counts = frame.groupby("subject").size()
    median = int(counts.median()) if len(counts) else 0
    return [s for s in STAGES if s in stages], folds, len(counts), median


def _frame(path: str, config: StudyConfig) -> pd.DataFrame:
    from eavdash.data.table import select

    table = cached_data.dataset(path)
    return select(table, config, unchecked=table.subjects).frame
