"""Shapley values and interactions: equal to brute force over orders and subsets, and to their axioms."""

from __future__ import annotations

import math
from itertools import chain, combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import coalition_rows, make_study, write_parquet

from eavdash.config.choices import MODALITIES
from eavdash.results import shapley
from eavdash.store.documents import AdditivePart, CoalitionReport

Game = dict[frozenset[str], float]


def subsets(players: tuple[str, ...]) -> list[frozenset[str]]:
    return [frozenset(s) for s in chain.from_iterable(combinations(players, n) for n in range(len(players) + 1))]


def random_game(seed: int, players: tuple[str, ...] = MODALITIES) -> Game:
    random = np.random.default_rng(seed)
    return {s: float(random.normal(-2, 1)) for s in subsets(players)}


def table_of(*games: Game, trial: str = "2", label: str = "joy") -> pd.DataFrame:
    """Return the table of one trial whose windows are the games; a coalition's modalities in canonical order."""
    rows = [
        ("s01-fusion", "1", trial, window, label, "+".join(m for m in MODALITIES if m in s), worth, 0, 0)
        for window, game in enumerate(games)
        for s, worth in game.items()
    ]
    columns = ["run", "subject", "trial", "window", "class", "coalition", "value", "fold", "seed"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0).reset_index(drop=True)


def values_of(table: pd.DataFrame, window: int = 0) -> dict[str, float]:
    found = shapley.shapley_values(table)
    return found[found["window"] == window].set_index("modality")["value"].to_dict()


def brute_values(game: Game, players: tuple[str, ...]) -> dict[str, float]:
    """The mean over all orders of what a player adds to those before it."""
    orders = list(permutations(players))
    out = dict.fromkeys(players, 0.0)
    for order in orders:
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            out[player] += (game[before | {player}] - game[before]) / len(orders)
    return out


def brute_pair(game: Game, players: tuple[str, ...], i: str, j: str) -> float:
    """Grabisch & Roubens 1999: the weighted mean of second differences over all coalitions of the others."""
    n, total = len(players), 0.0
    for s in subsets(tuple(p for p in players if p not in (i, j))):
        weight = math.factorial(n - len(s) - 2) * math.factorial(len(s)) / math.factorial(n - 1)
        total += weight * (game[s | {i, j}] - game[s | {i}] - game[s | {j}] + game[s])
    return total


@pytest.mark.parametrize("players", [MODALITIES, ("vision", "eeg"), ("audio",)])
@pytest.mark.parametrize("seed", range(5))
def test_equal_to_brute_force(players: tuple[str, ...], seed: int) -> None:
    game = random_game(seed, players)
    table = table_of(game)
    assert values_of(table) == pytest.approx(brute_values(game, players))
    pairs = shapley.interactions(table).set_index(["first", "second"])["value"].to_dict()
    assert pairs == pytest.approx({(i, j): brute_pair(game, players, i, j) for i, j in combinations(players, 2)})


def test_windows_with_different_modalities_are_games_of_their_own() -> None:
    whole, part, alone = random_game(0), random_game(1, ("audio", "eeg")), random_game(2, ("eeg",))
    table = table_of(whole, part, alone)
    assert values_of(table, 0) == pytest.approx(brute_values(whole, MODALITIES))
    assert values_of(table, 1) == pytest.approx(brute_values(part, ("audio", "eeg")))  # no vision: no value
    assert values_of(table, 2) == pytest.approx({"eeg": alone[frozenset({"eeg"})] - alone[frozenset()]})
    pairs = shapley.interactions(table)
    assert pairs.groupby("window").size().to_dict() == {0: 3, 1: 1}


def test_axioms() -> None:
    first, second = random_game(3), random_game(4)
    everyone, nobody = frozenset(MODALITIES), frozenset[str]()
    one, two = values_of(table_of(first)), values_of(table_of(second))
    assert sum(one.values()) == pytest.approx(first[everyone] - first[nobody])  # efficiency
    both = values_of(table_of({s: 2 * first[s] - second[s] for s in first}))
    assert both == pytest.approx({m: 2 * one[m] - two[m] for m in MODALITIES})  # linearity
    swap = {"vision": "audio", "audio": "vision", "eeg": "eeg"}
    swapped = values_of(table_of({s: first[frozenset(swap[m] for m in s)] for s in first}))
    assert swapped == pytest.approx({m: one[swap[m]] for m in MODALITIES})  # symmetry
    dummy = {s: first[s - {"eeg"}] + 0.25 * ("eeg" in s) for s in first}
    found = table_of(dummy)
    assert values_of(found)["eeg"] == pytest.approx(0.25)  # dummy
    pairs = shapley.interactions(found).set_index(["first", "second"])["value"]
    assert pairs["vision", "eeg"] == pytest.approx(0)
    assert pairs["audio", "eeg"] == pytest.approx(0)


def test_swapped_coalitions_change_the_values() -> None:
    game = random_game(5)
    table = table_of(game)
    table["coalition"] = table["coalition"].replace({"vision": "audio", "audio": "vision"})
    found = values_of(table)
    assert sum(found.values()) == pytest.approx(game[frozenset(MODALITIES)] - game[frozenset()])  # efficiency is blind
    assert found != pytest.approx(brute_values(game, MODALITIES))


@pytest.mark.parametrize("defect", ["missing", "twice", "unknown", "nan", "credit"])
def test_damaged_games_are_refused(defect: str) -> None:
    table = table_of(random_game(0), random_game(1, ("vision", "audio")))
    at = table.index[(table["coalition"] == "vision+audio") & (table["window"] == 1)]
    if defect == "missing":
        table = table.drop(at)
    elif defect == "twice":
        table = pd.concat([table, table.loc[at]], ignore_index=True)
    elif defect == "unknown":
        table.loc[at, "coalition"] = "vision+smell"
    elif defect == "nan":
        table.loc[at, "value"] = np.nan
    else:  # an absent modality gets credit
        table.loc[at, "coalition"] = "vision+eeg"
    with pytest.raises(ValueError, match=r"window with missing|smell"):
        shapley.shapley_values(table)


def test_a_trial_is_the_mean_of_its_windows() -> None:
    games = (random_game(0), random_game(1, ("vision", "eeg")))
    table = table_of(*games)
    trial = shapley.by_trial(shapley.shapley_values(table), table).set_index("modality")["value"]
    one, two = brute_values(games[0], MODALITIES), brute_values(games[1], ("vision", "eeg"))
    assert trial.to_dict() == pytest.approx({m: (one[m] + two.get(m, 0)) / 2 for m in MODALITIES})
    gain = [game[max(game, key=len)] - game[frozenset()] for game in games]
    assert trial.sum() == pytest.approx(np.mean(gain))
    pairs = shapley.by_trial(shapley.interactions(table), table).set_index(["first", "second"])["value"]
    assert pairs["vision", "audio"] == pytest.approx(brute_pair(games[0], MODALITIES, "vision", "audio") / 2)


def test_the_waterfall_reaches_the_decision() -> None:
    games = (random_game(0), random_game(1, ("vision", "eeg")))
    table = table_of(*games)
    found = shapley.waterfall(table, "s01-fusion", "1", "2", "joy")
    names = [name for name, _ in found.steps]
    assert names == ["base", *MODALITIES, "vision+audio", "vision+eeg", "audio+eeg", "vision+audio+eeg", "decision"]
    steps = dict(found.steps)
    assert sum(steps[n] for n in names[:-1]) == pytest.approx(steps["decision"])
    assert steps["base"] == pytest.approx(np.mean([g[frozenset()] for g in games]))
    assert steps["decision"] == pytest.approx(np.mean([g[max(g, key=len)] for g in games]))
    assert sum(found.shapley.values()) == pytest.approx(steps["decision"] - steps["base"])
    alone = np.mean([g[frozenset({"vision"})] - g[frozenset()] for g in games])
    assert steps["vision"] == pytest.approx(alone)
    only = shapley.waterfall(table_of(games[1]), "s01-fusion", "1", "2", "joy")
    assert [n for n, _ in only.steps] == ["base", "vision", "eeg", "vision+eeg", "decision"]
    for request in (("s02-fusion", "1", "2", "joy"), ("s01-fusion", "1", "4", "joy"), ("s01-fusion", "1", "2", "calm")):
        with pytest.raises(KeyError):
            shapley.waterfall(table, *request)


def test_the_decided_class_and_what_adds_least_to_it() -> None:
    def worth(vision: float, audio: float) -> Game:
        return {s: -2 + vision * ("vision" in s) + audio * ("audio" in s) for s in subsets(("vision", "audio"))}

    parts = [table_of(worth(1.0, 0.5), worth(0.2, -0.4)), table_of(worth(0.1, 0.1), worth(0.1, 0.1), label="calm")]
    table = pd.concat(parts, ignore_index=True)
    assert shapley.decided(table).set_index("window")["class"].to_dict() == {0: "joy", 1: "calm"}
    assert shapley.decided(table, trials=True)["class"].tolist() == ["joy"]
    found = shapley.summary(table).set_index("modality")
    assert found["windows"].tolist() == [2, 2]
    assert found["size"].to_dict() == pytest.approx({"vision": 0.55, "audio": 0.3})
    assert found["smallest"].to_dict() == {"vision": 0.5, "audio": 1.0}  # a tie counts for both


def test_a_study(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2", "3"), trials=4)
    found = shapley.coalitions(study)
    assert (found.without, found.problems) == ((), ())
    assert len(found.table) == 3 * 4 * 2 * 5 * 8
    values = shapley.shapley_values(found.table)
    assert len(values) == 3 * 4 * 2 * 5 * 3
    older, damaged, wrong = (study.run(f"s0{s}-fusion") for s in (1, 2, 3))
    older.shapley_file.unlink()
    older.update(checksums={k: v for k, v in older.status().checksums.items() if k != "shapley.parquet"})
    damaged.shapley_file.write_bytes(b"x")
    rows = pd.read_parquet(wrong.shapley_file)
    write_parquet(wrong.shapley_file, rows[rows["coalition"] != "audio"])
    wrong.update(checksums=wrong.seal())
    found = shapley.coalitions(study)
    assert found.without == ("s01-fusion",)
    assert found.table.empty
    assert "s02-fusion/shapley.parquet: expected checksum" in found.problems[0]
    assert "s03-fusion/shapley.parquet: expected every coalition once" in found.problems[1]
    assert "eavdash shapley demo" in found.problems[1]
    assert shapley.summary(found.table).empty


def test_the_additive_part_of_each_run(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2"), trials=2)
    assert shapley.emap(study).empty
    run = study.run("s02-fusion")
    numbers = {"accuracy": 0.8, "additive_accuracy": 0.75, "unchanged": 0.9, "variance": 0.95}
    additive = AdditivePart(windows=40, mixtures=204, **numbers)
    run.describe(coalitions=CoalitionReport(absent="masked", reproduction=1e-7, additive=additive))
    row = shapley.emap(study).iloc[0].to_dict()
    assert row == {"run": "s02-fusion", "subject": "2", "fold": 0, "seed": 0, "windows": 40, "mixtures": 204, **numbers}


def test_rows_of_a_fake_study_are_consistent(tmp_path: Path) -> None:
    run = make_study(tmp_path, subjects=("1",), trials=2).run("s01-fusion")
    frame = pd.read_parquet(run.predictions_file)
    rows = coalition_rows(frame)
    tested = frame[(frame["split"] == "test") & (frame["frame"] == -1)]
    whole = rows[(rows["coalition"] == "+".join(MODALITIES)) & (rows["class"] == "Anger")]
    assert np.exp(whole["value"].to_numpy(float)) == pytest.approx(tested["p_Anger"].to_numpy(), abs=1e-6)
