"""Caches of the mean maps of a study and of its representations, between reruns of their pages.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from eavdash.results import representations
from eavdash.results.decision import first_decisions
from eavdash.results.representations import Representations
from eavdash.store import StudyDir
from eavdash.ui import cached_results
from eavdash.ui.cached_results import Stamp, file_stamp, results_key

if TYPE_CHECKING:
    from eavdash.explain.maps.record import StudyMaps


def maps(study: StudyDir, stage: str, method: str, baseline: str) -> StudyMaps | None:
    """Return the stored mean maps, which must not be changed, or None.

    Raises:
        IntegrityError: their files are damaged.
    """
    files = study.maps_files(stage, method, baseline)
    stamps = [file_stamp(file) for file in files]
    return None if cached_results.MISSING in stamps else _maps(study, stage, method, baseline, stamps)


def explained(study: StudyDir, stage: str, method: str, baseline: str) -> int:
    """Return how many test trials of a stage have a stored explanation of their decision."""
    return _explained(study, stage, method, baseline, [file_stamp(run.explain_dir) for run in study.runs()])


def separated(study: StudyDir) -> Representations | None:
    """Return what separates the trials of a study, or None.

    Raises:
        IntegrityError: the file is damaged.
    """
    return _separated(study, file_stamp(study.representations_file))


def without(study: StudyDir) -> tuple[str, ...]:
    """Return the runs whose representations are missing, or those of earlier weights."""
    return _without(study, [file_stamp(study.representations_file), *(file_stamp(r.status_file) for r in study.runs())])


def places(study: StudyDir, run: str) -> pd.DataFrame:
    """Return the places of the test trials of a run (empty: of the decisions of all runs).

    Raises:
        IntegrityError: the file is missing or damaged.
    """
    file = study.run(run).representations_file if run else study.decisions_file
    return _places(study, run, [file_stamp(file), file_stamp(study.representations_file)])


@st.cache_resource(max_entries=4, show_spinner="Reading the maps", hash_funcs={StudyDir: results_key})
def _maps(study: StudyDir, stage: str, method: str, baseline: str, stamps: list[Stamp]) -> StudyMaps | None:
    from eavdash.explain.maps.record import load_maps

    return load_maps(study, stage, method, baseline)


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs={StudyDir: results_key})
def _explained(study: StudyDir, stage: str, method: str, baseline: str, stamps: list[Stamp]) -> int:
    from eavdash.explain.maps.gather import count_explained

    return count_explained(study, first_decisions(cached_results.trials(study), stage), method, baseline)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs={StudyDir: results_key})
def _separated(study: StudyDir, stamp: Stamp) -> Representations | None:
    return representations.load(study)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={StudyDir: results_key})
def _without(study: StudyDir, stamps: list[Stamp]) -> tuple[str, ...]:
    found = representations.load(study)
    runs = representations.represented(study, cached_results.trials(study))
    return tuple(run.name for run in runs if found is None or representations.outdated(found, run))


@st.cache_data(max_entries=16, show_spinner="Reading the representations", hash_funcs={StudyDir: results_key})
def _places(study: StudyDir, run: str, stamps: list[Stamp]) -> pd.DataFrame:
    found = representations.load(study)
    assert found is not None  # the page has read it
    return representations.load_table(study, found, run).drop(columns="values")
