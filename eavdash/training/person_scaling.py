"""Scaling by person (``protocol.subject_scaling``): of windows, or of the features of an encoder that does it itself.

In: a run's windows and trials, later its encoder. Out: windows standardised by their person's statistics, or, for an
encoder with ``person_statistics`` (models/base.py), unchanged windows and :class:`~eavdash.models.people.People`.

The statistics come from all windows of a person (``all``) or from those of its trials for calibration, which people
that are trained on have too, so that all are scaled alike. A person without such a window, for instance because a
recording proved unreadable, gets the mean of the statistics of the people that were trained on, and the log says so.

An encoder's statistics are computed once, before it is trained, so that what it learns fits them and a run that is
resumed has the same ones. They are kept with the run: fusions, explanations and later predictions use those.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.config import scaling
from eavdash.config.schema import StudyConfig
from eavdash.data import standardise
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError
from eavdash.models import build
from eavdash.models.base import Encoder, to_encoder_input
from eavdash.models.people import People, of_people

log = logging.getLogger(__name__)


def scaled_by_person(
    values: WindowSet, trials: pd.DataFrame, config: StudyConfig, name: str
) -> tuple[WindowSet, dict[str, np.ndarray]]:
    """Return the windows as a run uses them, and for an encoder that scales its own features each person's rows.

    ``trials``: the run's trials with their ``split``. ``name``: of the run, for the log.

    Raises:
        DataError: nobody that is trained on has a window for the statistics.
    """
    setting = config.protocol.subject_scaling
    itself = build.scales_people(config.modality(values.modality).encoder)
    if setting == scaling.OFF or not (itself or values.kind in standardise.KINDS):
        return values, {}
    keys, key = values.index[["subject", "trial"]].reset_index(drop=True), "by-subject"
    if scaling.calibration_trials(setting):
        aside = trials.loc[trials["split"] == scaling.CALIBRATION, ["subject", "trial"]]
        of = pd.MultiIndex.from_frame(aside)
        keys = keys[pd.MultiIndex.from_frame(keys).isin(of)]
        digest = hashlib.sha256(aside.to_csv(index=False).encode()).hexdigest()[:8]
        key = f"{setting.replace(':', '-')}-{digest}"
    rows = {str(subject): np.asarray(of.index) for subject, of in keys.groupby("subject", sort=False)}
    trained = [subject for subject in _trained(trials) if subject in rows]
    if not trained:
        raise DataError.at(
            name,
            expected=f"{values.modality} windows to scale people by, of those that are trained on",
            found="none",
            remedy="check their recordings, or set protocol.subject_scaling=off",
        )
    if others := [s for s in dict.fromkeys(values.index["subject"]) if s not in rows]:
        log.warning(
            "%s: no %s of %s for calibration: scaled by the mean statistics of the people that are trained on",
            *(name, values.modality, ", ".join(others)),
        )
    # The values, or the features computed from them, differ from those of the original key.
    named = {**values.meta, "key": f"{values.meta['key']}-{key}"}
    if itself:
        return replace(values, meta=named), rows
    statistics = standardise.subject_statistics(values, rows, trained)
    return standardise.standardise(replace(values, meta=named), statistics), {}


@torch.no_grad()
def statistics_of_people(
    model: Encoder, values: WindowSet, rows: Mapping[str, np.ndarray], trials: pd.DataFrame, device: torch.device
) -> People:
    """Return the statistics that the encoder computes from each person's windows ``rows``; without any, nobody's.

    ``trials``: the run's trials with their ``split``: others get the mean of the people that are trained on.
    """
    if not rows:
        return People()
    model.eval()
    found: dict[str, dict[str, Tensor]] = {}
    for subject, of in rows.items():
        x, mask = torch.from_numpy(np.array(values.values[of])), torch.from_numpy(np.array(values.mask[of], dtype=bool))
        measure = getattr(model, "person_statistics")  # noqa: B009  # only such encoders have it
        made = measure(to_encoder_input(values.modality, x.to(device)), mask.to(device))
        found[subject] = {name: value.detach().cpu() for name, value in made.items()}
    return of_people(found, _trained(trials))


def _trained(trials: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(trials.loc[trials["split"] == "train", "subject"]))
