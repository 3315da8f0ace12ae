"""A fusion that training has not clearly improved on validation trials stays as it began."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from eavdash.training.baselines import temperatures
from eavdash.training.fusion_features import FusionFeatures
from eavdash.training.start import MUTED, TRIALS, gain, opinion_temperatures


def test_a_gain_counts_by_trials_and_must_exceed_its_error() -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 5
    before = torch.randn(40, 5, generator=random)
    right = before + 4 * torch.nn.functional.one_hot(labels, 5)
    trials = [str(i // 2) for i in range(40)]
    assert gain(before, right, labels, trials).clear
    assert not gain(right, before, labels, trials).clear
    assert not gain(before, before, labels, trials).clear
    # One lucky trial: the mean improves, but not more than its error.
    lucky = before.clone()
    lucky[:2] = right[:2]
    found = gain(before, lucky, labels, trials)
    assert found.mean > 0
    assert not found.clear
    # The windows of a trial are alike: ten copies of each are no more evidence.
    copies = gain(before.repeat(10, 1), lucky.repeat(10, 1), labels.repeat(10), trials * 10)
    assert (copies.mean, copies.error) == pytest.approx((found.mean, found.error))


def test_without_validation_trials_training_is_kept() -> None:
    assert gain(torch.zeros(0, 5), torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), []).clear


@pytest.mark.parametrize(("trials", "muted"), [(TRIALS, True), (TRIALS - 1, False)])
def test_an_opinion_without_evidence_is_muted_if_there_are_trials_to_tell(trials, muted) -> None:
    """Vision knows, audio guesses with confidence, EEG was not recorded in the first half."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(2 * trials) // 2 % 5  # two windows of each trial
    index = pd.DataFrame({"subject": "1", "trial": [str(i // 2) for i in range(2 * trials)]})
    guessing = 4 * torch.randn(2 * trials, 5, generator=random)
    knowing = 2.0 * torch.nn.functional.one_hot(labels, 5) + torch.randn(2 * trials, 5, generator=random)
    logits = {"vision": knowing, "audio": guessing, "eeg": knowing.clone()}
    masks = {m: torch.ones(2 * trials, 1, dtype=torch.bool) for m in logits}
    masks["eeg"][:trials] = False
    joined = FusionFeatures(index, {m: torch.zeros(2 * trials, 1, 2) for m in logits}, masks, logits)
    rows = range(2 * trials)
    found = opinion_temperatures(joined, labels, rows, mute=True)
    fitted = {m: each.temperature for m, each in temperatures(logits, masks, labels, rows).items()}
    assert found == fitted | ({"audio": MUTED} if muted else {})
    assert opinion_temperatures(joined, labels, rows, mute=False) == fitted
