"""Complete records of a study and of a run, for tests that need only some of their fields."""

from __future__ import annotations

from typing import Any

from eavdash.config.convert import to_dict
from eavdash.config.schema import StudyConfig
from eavdash.store.documents import RunConfig, StudyDocument

CLASSES = ["a", "b"]


def study_document(name: str = "study", **changes: Any) -> StudyDocument:
    """Return a study's document with these fields."""
    fields = {
        "name": name,
        "config": to_dict(StudyConfig()),
        "selection": {"subjects": ["1"], "folds": [0], "seeds": [0]},
        "dataset": {"path": "/data"},
        "classes": CLASSES,
        "naming": {"fold": 0, "seed": 0},
    }
    return StudyDocument.model_validate({**fields, **changes})


def run_config(run: str = "s01-eeg", **changes: Any) -> RunConfig:
    """Return the configuration of a run with these fields; keys that the record lacks are kept as unknown ones."""
    unit, stage = (*run.split("-"), "eeg")[:2]
    fields = {
        "study": "study",
        "run": run,
        "unit": unit,
        "stage": stage,
        "fold": 0,
        "seed": 0,
        "subject": unit[1:].lstrip("0"),
        "classes": CLASSES,
        "config": to_dict(StudyConfig()),
    }
    return RunConfig.model_validate({**fields, **changes})
