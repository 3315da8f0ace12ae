"""The command ``eavdash train`` that queues what the launch form queues.

In: a dataset's path, a name, a configuration, and how it is run. Out: the words of the command; only what differs from
the preset and from the options' defaults is in it. The command line parses them to the same configuration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from eavdash.config.choices import STAGES
from eavdash.config.convert import settings_of, to_dict, with_epochs
from eavdash.config.presets import preset
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.store.names import expanded
from eavdash.studies.unusable import Unusable
from eavdash.text import listing


def train_command(
    root: str | Path,
    name: str,
    config: StudyConfig,
    selection: Selection,
    execution: Execution,
    unusable: Unusable,
    checkpoints: Path,
    sweeps: Sequence[str] = (),
) -> list[str]:
    """Return the words of the command, ``eavdash`` first."""
    folder = expanded(root).absolute()
    words = ["eavdash", "train", str(folder), "--study", name]
    if checkpoints.absolute() != Path("checkpoints").absolute():
        words += ["--checkpoints", str(checkpoints.absolute())]
    words += _of_config(config)
    for sweep in sweeps:
        words += ["--sweep", sweep]
    if selection.subjects:
        words += [f"--subjects={listing(selection.subjects)}"]
    if selection.folds:
        words += ["--folds", listing(selection.folds)]
    if selection.seeds != (0,):
        words += ["--seeds", listing(selection.seeds)]
    words += ["--strict"] if unusable.strict else []
    for option, kinds in (("--leave-out", unusable.leave_out), ("--keep", unusable.keep)):
        words += [option, *kinds] if kinds else []
    return words + _of_execution(execution)


def _of_config(config: StudyConfig) -> list[str]:
    """Return the options that make a configuration from its preset."""
    base, words = preset(config.preset), []
    if config.preset != "quick":
        words += ["--preset", config.preset]
    epochs = {getattr(config.train, stage).epochs for stage in STAGES}
    if len(epochs) == 1 and (same := with_epochs(base, *epochs)) != base:
        words += ["--epochs", str(*epochs)]
        base = same
    if config.where != base.where:  # in --set a value could have no comma
        for condition in config.where or ("all",):
            words += ["--where", condition]
    keys = to_dict(config).keys() - {"preset", "where"}
    for setting in settings_of(config, base, keys):
        words += ["--set", setting]
    return words


def _of_execution(execution: Execution) -> list[str]:
    words = []
    for field in dataclasses.fields(execution):
        value = getattr(execution, field.name)
        option = f"--{field.name.replace('_', '-')}"
        if value == field.default:
            continue
        if isinstance(value, tuple):
            words += [f"{option}={each}" for each in value]
        else:
            words += [option] if value is True else [f"{option}={value}"]
    return words
