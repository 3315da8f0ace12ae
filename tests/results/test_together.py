"""Who is right when the others are wrong: planted decisions, Cohen's kappa against scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from eavdash.report.figures import together as figures
from eavdash.results import together as decided

STAGES = ("vision", "audio", "eeg", "fusion")


def trials(predicted: dict[str, str], labels: str = "aaaabbbb", seeds: int = 1) -> pd.DataFrame:
    rows = [
        ("1", str(i), label, 0, seed, stage, guess[i], guess[i] == label)
        for stage, guess in predicted.items()
        for i, label in enumerate(labels)
        for seed in range(seeds)
        if guess[i] != "-"
    ]
    return pd.DataFrame(rows, columns=["subject", "trial", "label", "fold", "seed", "stage", "predicted", "correct"])


PLANTED = {"vision": "aabbbbaa", "audio": "aabbaaaa", "eeg": "bbabaaba", "fusion": "aaabbbba"}


@pytest.mark.parametrize("seeds", [1, 2])
def test_patterns_ceiling_and_who_was_right_alone(seeds: int) -> None:
    found = decided.together(trials(PLANTED, seeds=seeds))
    assert found is not None
    assert (found.trials, found.left_out) == (8, 0)
    # right: vision 0 1 4 5, audio 0 1, eeg 2 6
    assert decided.ceiling(found) == pytest.approx(6 / 8)
    table = decided.patterns(found).set_index("right")
    assert table["n"].to_dict() == pytest.approx({"vision+audio": 2, "vision": 2, "eeg": 2, "": 2})
    assert table.loc["eeg", "fusion"] == 1.0
    assert set(decided.alone(found, "eeg")["trial"]) == {"2", "6"}
    assert decided.alone(found, "audio").empty
    assert "75.0 %" in figures.sentence(found)
    assert figures.pattern_name("") == "none of them"
    assert len(figures.pattern_bars(decided.patterns(found)).data) == 2


def test_kappa_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    guesses = {m: "".join(rng.choice(list("abc"), 90)) for m in STAGES}
    found = decided.together(trials(guesses, "".join(rng.choice(list("abc"), 90))))
    assert found is not None
    row = decided.pairs(found).iloc[0]
    assert row["kappa"] == pytest.approx(cohen_kappa_score(list(guesses["vision"]), list(guesses["audio"])))
    assert row[["both", "only_a", "only_b", "neither"]].sum() == pytest.approx(1)
    assert len(figures.pair_table(decided.pairs(found))) == 3


def test_trials_that_one_of_them_lacks_are_left_out_and_counted() -> None:
    found = decided.together(trials({**PLANTED, "audio": "aabbaa--"}))
    assert found is not None
    assert (found.trials, found.left_out) == (6, 2)
    assert "2 trials" in figures.sentence(found)
    assert decided.together(trials({"vision": PLANTED["vision"], "fusion": PLANTED["fusion"]})) is None
    assert decided.together(trials({"vision": "aaaa----", "eeg": "----bbbb"})) is None
