"""Checks of a plan's encoders: their checkpoints and windows, before anything is queued.

In: a configuration, the trials of a plan, the number of classes. Out: an error with a remedy, or notes. Of checkpoints
and recordings only headers are read. Torch is imported only for what depends on a checkpoint or a library's model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN, LIBRARIES, TABLE
from eavdash.config.fitting import LINEAR
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError, EavdashError
from eavdash.store.readable import check_readable
from eavdash.text import natural_order, shortened

#: Samples of a window above ``eeg.width``, from which on every encoder supports it.
_AMPLE = 100


def refuse_missing_weights(config: StudyConfig) -> None:
    """Check that the pretrained weights of all encoders exist, before anything is queued.

    Raises:
        ConfigError: a setting's path does not exist, or a package that contains an encoder's weights is missing.
        OutsideError: it may not be read.
    """
    from eavdash.models.packaged import weights_path

    for modality in config.modalities:
        path = config.modality(modality).weights
        weights_path(config, modality)  # asks for the package that contains them
        if path and check_readable(path) and not os.path.exists(path):  # noqa: PTH110 -- returns False for an impossible name
            raise ConfigError.at(
                f"{modality}.weights",
                expected="a checkpoint's folder or file",
                found=f"nothing at {shortened(path)}",
                remedy="correct the path",
            )


def refuse_unknown_encoders(config: StudyConfig) -> None:
    """Check the names of library encoders; a library is imported only if one of its encoders is used.

    Raises:
        ConfigError: the library has no encoder of that name.
    """
    for modality in config.modalities:
        prefix, colon, name = config.modality(modality).encoder.partition(":")
        if colon and prefix == "timm":
            from eavdash.models import timm_vit

            timm_vit.check_name(name)
        elif colon:
            from eavdash.models import braindecode_eeg

            braindecode_eeg.check_name(name)


def refuse_unfit_encoders(config: StudyConfig, trials: pd.DataFrame, classes: int, together: bool) -> list[str]:
    """Check that each encoder supports its windows and that its checkpoint fits, as the worker does before it trains.

    Args:
        trials: the rows of a plan.
        together: one encoder is trained on all subjects, whose EEG channels have to match.

    Returns:
        A note on each subject whose EEG does not fit, where that of others does.

    Raises:
        ConfigError: an encoder does not support the windows, its checkpoint does not fit, or a table lacks a column
            that the settings name.
        DataError: a package is missing that crops faces, or no subject's EEG has the channels.
    """
    from eavdash.data.cache.window_set_spec import trial_rows
    from eavdash.data.formats.feature_columns import unmatched
    from eavdash.data.readers import reader_of
    from eavdash.models.packaged import is_pretrained

    notes: list[str] = []
    for modality in config.modalities:
        part = config.modality(modality)
        if (trials[COLUMN[modality]] == "").all():
            continue
        reader = reader_of(modality, config)
        assert reader.settings  # asks for the face detector
        named = is_pretrained(config, modality) or part.encoder.startswith(LIBRARIES.get(modality, ":"))
        named = named or part.encoder in LINEAR or config.training(modality).fit == "linear"
        if part.encoder == TABLE:
            first = trial_rows(trials, modality)[:1]
            reader.prepare(first)
            if lost := unmatched(reader.channels, part.table):  # type: ignore[union-attr]  # EEG has no tables
                raise ConfigError.at(
                    f"{modality}.table.columns",
                    expected=f"names and patterns of columns of {first[0].path}",
                    found=f"{shortened(lost)}, which none of {shortened(', '.join(reader.channels))} is",
                    remedy="correct it, or leave it out",
                )
            if part.weights:
                _fit(config, modality, classes, {"columns": reader.channels})
        elif modality == "eeg":
            references = config.eeg.reference not in ("", "average")
            if named or config.eeg.channels or references or reader.steps < config.eeg.width + _AMPLE:
                notes += _unfit_subjects(config, trials, classes, together)
        elif named or (modality == "audio" and 0 < config.audio.frames < reader.steps):
            size = {"size": config.vision.size} if modality == "vision" else {"mels": reader.shape[1]}
            _fit(config, modality, classes, {"frames": reader.steps, **size})
    return notes


def _unfit_subjects(config: StudyConfig, trials: pd.DataFrame, classes: int, together: bool) -> list[str]:
    """Check the EEG encoder for the channels of each subject, or of all ``together``; return notes on some of them.

    Raises:
        EavdashError: it fits none; the error is that of the first.
    """
    from eavdash.data.cache.window_set_spec import trial_rows
    from eavdash.data.readers import READERS

    rows = trial_rows(trials, "eeg")
    scopes = {"": rows} if together else {s: [r for r in rows if r.subject == s] for s in {r.subject for r in rows}}
    unfit: dict[str, EavdashError] = {}
    fits: set[tuple[str, ...]] = set()  # large models take seconds to build
    for subject in natural_order(scopes):
        reader = READERS["eeg"](config)
        try:
            reader.prepare(scopes[subject])
            shape = {"channels": reader.channels, "samples": reader.steps}
            key = (*reader.channels, str(reader.steps))
            if key not in fits:
                _fit(config, "eeg", classes, shape)
                fits.add(key)
        except EavdashError as error:
            unfit[subject] = error
    if len(unfit) == len(scopes):
        raise next(iter(unfit.values()))
    return [f"the EEG of subject {subject} does not fit: {error}" for subject, error in unfit.items()]


def _fit(config: StudyConfig, modality: str, classes: int, shape: Mapping[str, Any]) -> None:
    """Build an encoder without memory for its numbers and compare it with the headers of its checkpoint.

    Raises:
        ConfigError: it does not support windows of that ``shape``, or the checkpoint does not fit.
    """
    import torch

    from eavdash.models import build, weights
    from eavdash.models.base import last_linear

    spec = build.encoder_spec(modality, config, classes, shape)
    try:
        with torch.device("meta"):
            encoder = build.build(spec)
    except ConfigError as error:
        if not _needs_numbers(error):
            raise
        encoder = build.build(spec).to("meta")
    if config.training(modality).fit == "linear" and last_linear(encoder.head) is None:
        raise ConfigError.at(
            f"train.{modality}.fit",
            expected=f"gradient: {config.modality(modality).encoder} does not end with one linear layer",
            found="linear",
            remedy=f"set train.{modality}.fit=gradient or choose another encoder",
        )
    weights.load_configured(encoder, config, modality, values=False)


def _needs_numbers(error: BaseException) -> bool:
    """Return True if a model could not be built because it computes with numbers, which "meta" has not."""
    return "meta tensors" in str(error.__cause__)
