"""Checks of a plan: its size, and conflicts with the existing study; encoders.py has those of the encoders.

In: a configuration, a study, its earlier document. Out: an error with a remedy, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from eavdash.config.choices import ACROSS, FOLDED
from eavdash.config.convert import differences, recorded_config, to_dict
from eavdash.config.limits import RUNS
from eavdash.config.schema import EegConfig, NamesConfig, StudyConfig
from eavdash.errors import SplitError, StudyConflictError, UsageError
from eavdash.models.automatic import has_features, is_frozen
from eavdash.store import StudyDir
from eavdash.store.documents import StudyDocument
from eavdash.text import plural

#: Settings of EEG that were added later and decide arrays.
LATER = ("montage", "repeated", "gaps", "marked_channels", "reject_marked")


def missing_pretraining_notes(config: StudyConfig) -> list[str]:
    """Return a note for each encoder that is configured to be fine-tuned or frozen but has no pretrained weights."""
    notes = []
    for m in config.modalities:
        if has_features(config, m):
            continue
        if is_frozen(config, m):
            notes.append(
                f"{m}: the settings keep the encoder {config.modality(m).encoder} as it is, but {m}.weights is empty; "
                f"without pretrained weights it is one of random numbers, so set {m}.weights"
            )
        elif config.training(m).head_epochs:
            rate = config.training(m).learning_rate
            notes.append(
                f"{m}: the settings fine-tune pretrained weights (learning rate {rate:g}), but {m}.weights is empty; "
                f"trained from scratch it will hardly learn, so set {m}.weights"
            )
    return notes


def refuse_other_subjects(study: StudyDir, old: StudyDocument, subjects: Sequence[str]) -> None:
    """Check that the subjects of a cross-subject study have not changed.

    Raises:
        StudyConflictError: they differ from those in its earlier document.
    """
    before = old.selection.subjects
    if sorted(before) != sorted(subjects):
        raise StudyConflictError.at(
            study.study_file,
            expected=f"the subjects {', '.join(before)}, as every fold depends on all of them",
            found=", ".join(subjects),
            remedy="give the study another name",
        )


def chosen_folds(splits: pd.DataFrame, wanted: Sequence[int], problems: dict[str, str]) -> list[int]:
    """Return the wanted folds, or all of them if ``wanted`` is empty.

    Raises:
        UsageError: a wanted fold does not exist.
        SplitError: there is no fold at all.
    """
    existing = sorted({int(f) for f in splits["fold"]})
    missing = [f for f in wanted if f not in existing]
    if missing and existing:
        raise UsageError.at(
            "--folds",
            expected=f"some of {', '.join(map(str, existing))}",
            found=", ".join(map(str, missing)),
            remedy="choose among them",
        )
    if not existing:
        raise SplitError(next(iter(problems.values()), "no trial could be assigned to a fold."))
    return list(wanted) or existing


def fewer_folds_notes(config: StudyConfig, splits: pd.DataFrame) -> list[str]:
    """Return a note if some subject's trials make fewer folds than are asked for; ``splits``: those of the plan."""
    asked, name = config.protocol.folds, config.protocol.name
    if name not in FOLDED or splits.empty:
        return []
    if name in ACROSS:
        counts, what = [splits["fold"].nunique()], "the subjects"
    else:
        counts, what = splits.groupby("subject")["fold"].nunique().tolist(), "the groups of each subject's trials"
    low, high = min(counts), max(counts)
    if low >= asked:
        return []
    made = f"{low}" if low == high else f"{low} to {high}, by subject"
    return [f"{asked} folds are asked for, and {what} make {made}: so many are run"]


def refuse_too_many_runs(subjects: int, folds: int, seeds: int, stages: int) -> None:
    """Check the number of a plan's runs before they are made.

    Raises:
        UsageError: there are more than :data:`~eavdash.config.limits.RUNS`.
    """
    if (runs := subjects * folds * seeds * stages) > RUNS:
        parts = (plural(subjects, "subject"), plural(folds, "fold"), plural(seeds, "seed"), plural(stages, "stage"))
        raise UsageError.at(
            "the plan",
            expected=f"at most {RUNS:,} runs",
            found=f"{runs:,}: {' x '.join(parts)}",
            remedy="ask for fewer folds, seeds or subjects (protocol.folds, --folds, --seeds, --subjects)",
        )


def keep_earlier(config: StudyConfig, old: StudyDocument) -> tuple[StudyConfig, list[str]]:
    """Return ``config`` with the earlier values of settings that decide arrays or training and a study's record lacks.

    The presets' values of such settings would change what the study's runs have read or how its later ones are trained.
    A note says which were changed.
    """
    if config.names == StudyConfig().names and recorded_config(old).names == NamesConfig():
        config = replace(config, names=NamesConfig())  # its names stay as written
    recorded = old.config.get("eeg", {})
    earlier = {name: getattr(EegConfig(), name) for name in LATER if name not in recorded}
    changed = [f"eeg.{name}={value}" for name, value in earlier.items() if getattr(config.eeg, name) != value]
    shown = changed if "eeg" in config.modalities else []
    config = replace(config, eeg=replace(config.eeg, **earlier))
    if config.fusion.mute_noise and "mute_noise" not in old.config.get("fusion", {}):
        config = replace(config, fusion=replace(config.fusion, mute_noise=False))
        shown += ["fusion.mute_noise=False"] if "fusion" in config.stages else []
    note = f"{old.name} was made by an earlier version, whose settings stay: {', '.join(shown)}"
    return config, [note] if shown else []


def refuse_conflict(study: StudyDir, old: StudyDocument, new: StudyDocument, found: dict[str, str]) -> None:
    """Check that a study's configuration, classes and recordings are unchanged.

    Raises:
        StudyConflictError: they have changed; its ``differences`` list the changes.
    """
    before = to_dict(recorded_config(old))  # settings added later get their defaults
    if before["eeg"]["bad_channels"] == new.config["eeg"]["bad_channels"] == "keep":
        before["eeg"]["bad_rules"] = new.config["eeg"]["bad_rules"]  # no effect; older studies have no such setting
    changed = differences(before, new.config)
    changed += differences({"classes": list(old.classes)}, {"classes": list(new.classes)})
    recorded = old.dataset.fingerprint
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
