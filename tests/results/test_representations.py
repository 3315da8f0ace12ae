"""Places of trials in two dimensions: decisions of all runs, spaces of a run, and their files."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from failing import fails
from fake_study import make_study

from eavdash.errors import IntegrityError
from eavdash.results import representations as module
from eavdash.results import tables
from eavdash.results.representations import Representations
from eavdash.store import StudyDir


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return make_study(tmp_path, subjects=("1", "2"))


def vectors(trials: pd.DataFrame, run: str, size: int = 4) -> pd.DataFrame:
    """Vectors of the trials of a run whose first number is 100 times the place of the label."""
    rows = trials[trials["run"] == run]
    random = np.random.default_rng(0)
    made = random.normal(size=(len(rows), size))
    made[:, 0] = 100 * rows["label"].astype("category").cat.codes
    made[:, -1] = 7  # constant
    values = list(made.astype(np.float32))
    return rows[["subject", "trial"]].assign(space="fusion", values=values)


def test_decisions_are_centred_logarithms_in_a_space_per_stage(study: StudyDir) -> None:
    trials = tables.trials(study)
    found = module.decisions(trials)
    assert list(found["space"].unique()) == ["vision", "audio", "eeg", "fusion"]
    assert len(found) == 4 * 20
    row, first = found.iloc[0], trials[trials["stage"] == "vision"].iloc[0]
    p = first[[f"p_{c}" for c in study.study().classes]].to_numpy(float)
    assert row["values"] == pytest.approx(np.log(p) - np.log(p).mean(), abs=1e-5)


def test_places_and_separation_of_a_run(study: StudyDir) -> None:
    trials = tables.trials(study)
    table, (space,) = module.placed(vectors(trials, "s01-fusion"), trials, "s01-fusion")
    assert (space.run, space.space, space.dimensions, space.ways) == ("s01-fusion", "fusion", 4, ("pca", "tsne"))
    assert space.kept == pytest.approx(1)
    assert sum(space.variance) < 1  # the dimensions are scaled: the first does not swallow the others
    assert (space.separation.subjects, space.separation.trials) == (1, 10)
    assert np.isfinite(table[["pca_1", "pca_2", "tsne_1", "tsne_2"]].to_numpy()).all()
    again, _ = module.placed(vectors(trials, "s01-fusion"), trials, "s01-fusion")
    pd.testing.assert_frame_equal(table, again)


def test_few_or_equal_points_are_not_drawn_or_only_by_pca(study: StudyDir) -> None:
    trials = tables.trials(study)
    few = vectors(trials, "s01-fusion").head(4)
    table, (space,) = module.placed(few, trials, "s01-fusion")
    assert space.ways == ()
    assert space.separation.too_few
    assert "pca_1" not in table
    same = vectors(trials, "s01-fusion").assign(values=[np.ones(3, np.float32)] * 10)
    _, (space,) = module.placed(same, trials, "s01-fusion")
    assert space.ways == ("pca",)


def test_umap_is_used_where_it_is_installed(study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stand:
        def __init__(self, n_neighbors: int, random_state: int, n_jobs: int) -> None:
            assert (n_neighbors, random_state) == (9, 0)

        def fit_transform(self, points: np.ndarray) -> np.ndarray:
            return points[:, :2] + 1

    stand = ModuleType("umap")
    stand.UMAP = Stand  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", stand)
    monkeypatch.setattr(module, "has_umap", lambda: True)
    trials = tables.trials(study)
    table, (space,) = module.placed(vectors(trials, "s01-fusion"), trials, "s01-fusion")
    assert space.ways == ("pca", "tsne", "umap")
    assert table["umap_1"].to_numpy() == pytest.approx(table["pca_1"].to_numpy() + 1, abs=1e-5)
    monkeypatch.setattr(module, "has_umap", lambda: False)
    assert "umap" not in module.placed(vectors(trials, "s01-fusion"), trials, "s01-fusion")[1][0].ways


def test_files_and_weights_that_have_changed(study: StudyDir) -> None:
    trials = tables.trials(study)
    assert [run.name for run in module.represented(study, trials)] == ["s01-fusion", "s02-fusion"]
    alone = trials[trials["stage"] == "eeg"]
    assert [run.name for run in module.represented(study, alone)] == ["s01-eeg", "s02-eeg"]
    assert module.load(study) is None
    run = study.run("s01-fusion")
    table, spaces = module.placed(vectors(trials, run.name), trials, run.name)
    files = {run.name: module.save_table(run.representations_file, table)}
    module.save(study, Representations(spaces=tuple(spaces), files=files, models=module.checksums(run)))
    found = module.load(study)
    assert found is not None
    assert str(found.spaces) == str(tuple(spaces))  # NaN is not equal to itself
    assert not module.outdated(found, run)
    assert module.outdated(found, study.run("s02-fusion"))
    assert module.load_table(study, found, run.name)["tsne_1"].tolist() == table["tsne_1"].tolist()
    encoder = study.run("s01-eeg")
    encoder.model_file.write_bytes(b"trained again")
    encoder.update(checksums=encoder.seal())
    assert module.outdated(found, run)
    run.representations_file.write_bytes(b"x")
    with fails(IntegrityError, where=run.representations_file.name, remedy="eavdash representations"):
        module.load_table(study, found, run.name)
    study.representations_file.write_text("[]")
    with pytest.raises(IntegrityError, match="a study's representations"):
        module.load(study)
