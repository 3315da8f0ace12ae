"""Average maps and representations of a synthetic study, stored as their commands store them, without models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eavdash.explain.maps.record import MappedTrial, MapsDocument, StudyMaps, ViewTest, save_maps
from eavdash.results import representations, tables
from eavdash.results.decision import first_decisions
from eavdash.results.representations import Representations
from eavdash.store import StudyDir

METHOD = ("expected_gradients", "mixed")
CHANNELS = ("Fz", "Cz", "Pz", "Oz")
SHAPES = {"vision": (16, 16), "audio": (16, 10), "scalp": (4,), "eeg": (4, 10)}


def add_maps(study: StudyDir, explained: int | None = None) -> pd.DataFrame:
    """Store mean maps of the study's fusion: Anger differs at Cz."""
    rows = first_decisions(tables.trials(study)).head(explained)
    document, random = study.study(), np.random.default_rng(0)
    classes, subjects = document.classes, tuple(rows["subject"].unique())
    counts = np.ones((len(subjects), len(classes), 2), np.int32)
    sums = {v: random.normal(0, 0.01, (*counts.shape, *s)).astype(np.float32) for v, s in SHAPES.items()}
    p = {view: np.ones((len(classes), *shape), np.float32) for view, shape in SHAPES.items()}
    p["scalp"][0, 1] = 0.002
    kinds = {"exchanged": "subjects", "subjects": len(subjects), "trials": 5}
    tests = [
        ViewTest(view=v, label=c, p=float(p[v][k].min()), cells=int((p[v][k] < 0.05).sum()), **kinds)
        for v in SHAPES
        for k, c in enumerate(classes)
    ]
    tests[-1] = ViewTest(view="eeg", label=classes[-1], subjects=1, trials=1, exchanged="", too_few="one map", p=np.nan)
    trials = [
        MappedTrial(
            **{name: row[name] for name in ("run", "subject", "trial", "label", "predicted")},
            p_label=row[f"p_{row['label']}"],
            distances={"all": 0.5, **{view: n / len(rows) for view in SHAPES}},
        )
        for n, row in enumerate(rows.to_dict("records"))
    ]
    made = MapsDocument(
        stage="fusion", method=METHOD[0], baseline=METHOD[1], unit="logit", classes=classes, subjects=subjects,
        views=tuple(SHAPES), channels=CHANNELS, seconds={"eeg": 5.0, "audio": 5.0},
        sums={"eeg": 0.1, "audio": 0.4, "vision": 1.0}, sizes={"eeg": 0.2, "audio": 0.5, "vision": 1.5},
        tests=tuple(tests), trials=tuple(trials), tested=len(rows), models={}, arrays="",
    )  # fmt: skip
    places = np.array([[0, 0.4], [0, 0], [0, -0.4], [np.nan, np.nan]])
    face = np.full((8, 8, 3), 128, np.uint8)
    save_maps(study, StudyMaps(made, sums, dict.fromkeys(SHAPES, counts), p, places, np.linspace(60, 7000, 16), face))
    return rows


def add_representations(study: StudyDir, leave: int = 0) -> Representations:
    """Store representations: in the runs' own spaces the labels are apart."""
    trials = tables.trials(study)
    table, spaces = representations.placed(representations.decisions(trials), trials, ways=("pca",))
    files, models = {"": representations.save_table(study.decisions_file, table)}, {}
    random = np.random.default_rng(0)
    for run in representations.represented(study, trials)[leave:]:
        rows = trials[trials["run"] == run.name]
        codes = rows["label"].astype("category").cat.codes.to_numpy()
        parts = []
        for space in ("vision", "fusion"):
            values = random.normal(size=(len(rows), 6)) + 9 * np.eye(6)[codes]
            parts.append(rows[["subject", "trial"]].assign(space=space, values=list(values.astype(np.float32))))
        table, found = representations.placed(pd.concat(parts), trials, run.name, ways=("pca",))
        files[run.name] = representations.save_table(run.representations_file, table)
        models |= representations.checksums(run)
        spaces += found
    made = Representations(spaces=tuple(spaces), files=files, models=models)
    representations.save(study, made)
    return made
