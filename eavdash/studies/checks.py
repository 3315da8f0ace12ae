"""What speaks against a plan: settings that cannot be, a study that is kept or was made otherwise.

In: a configuration, a study, its earlier document. Out: an error whose sentence says what to do, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.convert import differences, from_dict, to_dict
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError, SplitError, StudyConflictError, UsageError
from eavdash.store import StudyDir


def refuse_missing_weights(config: StudyConfig) -> None:
    """Published weights that an encoder is to start from have to be there before anything is queued.

    Raises:
        ConfigError: naming the setting whose path leads nowhere.
    """
    for modality in config.modalities:
        path = config.modality(modality).weights
        if path and not Path(path).exists():
            raise ConfigError.at(
                f"{modality}.weights",
                expected="a checkpoint's folder or file",
                found=f"nothing at {path}",
                remedy="mend the path",
            )


def refuse_unknown_encoders(config: StudyConfig) -> None:
    """Refuse a library's encoder that there is not; the library is loaded only where one is named."""
    for modality in config.modalities:
        prefix, colon, name = config.modality(modality).encoder.partition(":")
        if colon and prefix == "timm":
            from eavdash.models.timm_vit import check_name as known_to_timm

            known_to_timm(name)
        elif colon:
            from eavdash.models.braindecode_eeg import check_name as known_to_braindecode

            known_to_braindecode(name)


def unpretrained(config: StudyConfig) -> list[str]:
    """Notes about encoders that are set up to be fine-tuned and have no weights to start from."""
    return [
        f"{m}: the settings fine-tune published weights (learning rate {config.training(m).learning_rate:g}), but "
        f"{m}.weights is empty: trained from scratch like this it will hardly learn; set {m}.weights"
        for m in config.modalities
        if config.training(m).head_epochs and not config.modality(m).weights
    ]


def refuse_other_people(study: StudyDir, old: dict[str, Any], subjects: Sequence[str]) -> None:
    """Across subjects the people of a study cannot change.

    Raises:
        StudyConflictError: they are others than in its earlier document.
    """
    before = list(old["selection"]["subjects"])
    if sorted(before) != sorted(subjects):
        raise StudyConflictError.at(
            study.study_file,
            expected=f"the subjects {', '.join(before)} (across subjects, every fold depends on all of them)",
            found=", ".join(subjects),
            remedy="give the study another name",
        )


def chosen_folds(splits: pd.DataFrame, wanted: Sequence[int], problems: dict[str, str]) -> list[int]:
    """The folds that are wanted, or all there are.

    Raises:
        UsageError: one of them is not there. SplitError: none is.
    """
    there = sorted({int(f) for f in splits["fold"]})
    missing = [f for f in wanted if f not in there]
    if missing and there:
        raise UsageError.at(
            "--folds",
            expected=f"some of {', '.join(map(str, there))}",
            found=", ".join(map(str, missing)),
            remedy="choose among them",
        )
    if not there:
        raise SplitError(next(iter(problems.values()), "no trial could be put into a fold."))
    return list(wanted) or there


def refuse_conflict(study: StudyDir, old: dict[str, Any], new: dict[str, Any], found: dict[str, str]) -> None:
    """A study's configuration, classes and recordings stay what they were.

    Raises:
        StudyConflictError: they do not; its ``differences`` say how.
    """
    before = to_dict(from_dict(old["config"]))  # settings that came later have their defaults
    changed = differences(before, new["config"])
    changed += differences({"classes": old["classes"]}, {"classes": new["classes"]})
    recorded = old["dataset"]["fingerprint"]
    changed += [f"recordings of subject {s} have changed" for s, h in found.items() if recorded.get(s, h) != h]
    if changed:
        conflict = StudyConflictError.at(
            study.study_file,
            expected="the configuration that the study was made with",
            found="; ".join(changed),
            remedy="give the new study another name",
        )
        conflict.differences = tuple(changed)
        raise conflict
