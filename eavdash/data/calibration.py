"""The trials that a study across subjects keeps for scaling: the first K of each person (``protocol.subject_scaling``).

In: the rows of a trial table. Out: which of them get the split ``calibration``. Their labels are not used, and they are
neither trained on nor scored, whether their person is trained on, validates or is tested: so all people are alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.config.scaling import calibration_trials
from eavdash.config.schema import ProtocolConfig
from eavdash.errors import ConfigError
from eavdash.text import natural_order, plural

SETTING = "protocol.subject_scaling"


def calibration_rows(trials: pd.DataFrame, protocol: ProtocolConfig) -> pd.Series:
    """Return True for the first K trials of each subject; ``trials`` are in natural order.

    Raises:
        ConfigError: a subject, or a label, would have no trial left.
    """
    count = calibration_trials(protocol.subject_scaling)
    number = trials.groupby("subject").size()
    few = natural_order(number.index[number <= count])
    if few:
        raise ConfigError.at(
            SETTING,
            expected=f"fewer trials for calibration than each subject has (subject {few[0]}: {number[few[0]]})",
            found=protocol.subject_scaling,
            remedy="set a smaller number, or leave out subjects with few trials",
        )
    aside = trials.groupby("subject").cumcount() < count
    if lost := natural_order(set(trials["label"]) - set(trials["label"][~aside])):
        raise ConfigError.at(
            SETTING,
            expected="trials of every label beside those for calibration",
            found=f"{protocol.subject_scaling}, which leaves no trial of {' or '.join(lost)}",
            remedy="set a smaller number, or name trials in the order of recording, if they are sorted by label now",
        )
    return aside


def calibration_notes(trials: pd.DataFrame, protocol: ProtocolConfig) -> list[str]:
    """Return remarks on the trials that are kept for calibration: how many, and whether they are of one label only."""
    each = calibration_trials(protocol.subject_scaling)
    if not each:
        return []
    kept = trials[calibration_rows(trials, protocol)]
    counted = f"{len(kept):,} of {plural(len(trials), 'trial')}, the first {each} of each subject,"
    labels = kept.groupby("subject")["label"].nunique()
    alike = (
        f"all trials for calibration of {(labels == 1).sum()} of {plural(len(labels), 'subject')} have one label, so "
        "their statistics are that label's: name trials in the order of recording, if they are sorted by label now"
    )
    first = f"{counted} are for calibration: neither trained on nor scored"
    return [first, alike] if each > 1 and (labels == 1).any() else [first]


def refuse_uncalibrated(trials: pd.DataFrame, protocol: ProtocolConfig, modalities: Sequence[str]) -> None:
    """Check that every subject with recordings of EEG or sound has one among the trials for calibration.

    Raises:
        ConfigError: a subject has not.
    """
    if not calibration_trials(protocol.subject_scaling):
        return
    aside = calibration_rows(trials, protocol)
    for modality in (m for m in modalities if m != "vision"):
        recorded = trials[COLUMN[modality]] != ""
        without = set(trials["subject"][recorded]) - set(trials["subject"][recorded & aside])
        for subject in natural_order(without):
            raise ConfigError.at(
                SETTING,
                expected=f"a trial with {modality} among each subject's trials for calibration",
                found=f"{protocol.subject_scaling}, and none among the first trials of subject {subject}",
                remedy="set a larger number, or leave the subject out",
            )
