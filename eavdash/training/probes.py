"""Leakage probes that need computation: an encoder trained on shuffled labels, and classification of the subject.

In: a study with finished runs. Out: numbers, which ``eavdash.results.probes`` interprets. The study's own runs do not
change; the encoder trained here is discarded. Training uses stage1.py like the study's own runs; the linear classifier
is scikit-learn's.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from eavdash.config.choices import MODALITIES
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, SplitError, UsageError
from eavdash.models.seeds import generator, reproducible, seeder
from eavdash.results.columns import study_table
from eavdash.results.decision import mean_logs
from eavdash.store import RunDir, StudyDir
from eavdash.text import natural_order
from eavdash.training.features import features
from eavdash.training.run_context import RunContext, check_training, open_run_context, read_windows
from eavdash.training.stage1 import train_encoder

#: Encoders in order of training time, the fastest first.
CHEAPEST = ("eeg", "audio", "vision")
_TRIES = 50  # permutations that may leave a class out of training
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Shuffled:
    """``accuracy`` over ``n`` test trials with shuffled labels; ``units`` is the number of independent ones."""

    stage: str
    fold: int
    subjects: tuple[str, ...]
    accuracy: float
    n: int
    units: int
    majority: float  # share of the most frequent shuffled label among the test trials


@dataclass(frozen=True)
class Identity:
    """``accuracy`` of distinguishing ``subjects`` over ``n`` held-out windows of ``trials`` trials."""

    stage: str
    of: str
    subjects: tuple[str, ...]
    accuracy: float
    n: int
    trials: int
    majority: float


def shuffled_labels(
    study: StudyDir, *, subjects: int = 3, device: str = "cpu", threads: int = 1, report: Report | None = None
) -> Shuffled:
    """Train and test an encoder of the study again, on labels shuffled within each subject.

    Trials of a group with the same label get the same shuffled label, in all splits. An encoder that recognises the
    *group* of a test trial (because trials of it, or copies of them, are in training) scores above chance; one that
    must recognise the emotion cannot. Limited to one fold, the encoder that trains fastest and, for protocols within
    subjects, at most ``subjects`` subjects.

    Raises:
        UsageError: no encoder of the study has finished.
        SplitError: no permutation of the labels leaves every class in training.
    """
    runs = _encoders(study)
    stage, fold = runs[0].config().stage, runs[0].config().fold
    chosen = [run for run in runs if run.config().stage == stage and run.config().fold == fold]
    chosen = _one_per_subject(chosen)[:subjects]
    hits: list[np.ndarray] = []
    labels: list[str] = []
    people: list[str] = []
    units = 0
    for number, run in enumerate(chosen):
        if report is not None:
            report(number, len(chosen), run.name)
        with reproducible(torch.device(device), threads), _scratch(run) as scratch:
            context = open_run_context(run, torch.device(device))
            context = replace(context, run=scratch, info=scratch.config(), trials=_with_shuffled_labels(context))
            train_encoder(context)
            rows = pd.read_parquet(scratch.predictions_file)
        tested = rows[(rows["split"] == "test") & (rows["frame"] == -1)]
        tested = mean_logs(tested, context.classes, ("subject", "trial", "label"))
        hits.append((tested["predicted"] == tested["label"]).to_numpy(dtype=bool))
        labels += tested["label"].tolist()
        # Count only classified trials: those without this recording are not tested.
        of = context.trials.merge(rows.loc[rows["split"] == "test", ["subject", "trial"]].drop_duplicates())
        units += len(of[["subject", "unit"]].drop_duplicates())
        people += list(dict.fromkeys(of["subject"]))
    every = np.concatenate(hits)
    majority = float(pd.Series(labels).value_counts(normalize=True).max())
    return Shuffled(stage, fold, tuple(people), float(every.mean()), len(every), units, majority)


def subject_identity(study: StudyDir, *, subjects: int = 10, device: str = "cpu", threads: int = 1) -> Identity:
    """Classify the subject of single windows with a linear classifier.

    For protocols across subjects its input is the features of a finished encoder (whose test subjects are new to it),
    otherwise simple features of the recordings of at most ``subjects`` subjects, because encoders of different subjects
    share no feature space. It is trained on every other group of a subject (in natural order) and tested on the rest.

    Raises:
        UsageError: no encoder has finished, or there is only one subject.
        DataError: the recordings are incompatible.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    run = _encoders(study)[0]
    where = torch.device(device)
    with reproducible(where, threads):
        within = bool(run.config().subject)
        context = open_run_context(run, where, subjects=_subjects(study)[:subjects] if within else ())
        windows = read_windows(context, context.stage, () if within else run.config().input.channels)
        if windows is None:
            raise DataError.at(
                run.name, expected=f"{context.stage} recordings", found="none", remedy="repair the dataset"
            )
        index = windows.index
        if within:
            of = f"simple features of {context.stage}"
            values = _simple_features(windows.values, index["row"].to_numpy())
        else:
            made = features(run, windows, where)
            kept = made.mask.unsqueeze(-1)
            mean = (made.tokens * kept).sum(1) / kept.sum(1).clamp_min(1)
            of = f"the {context.stage} encoder's features"
            values = mean.numpy().astype(np.float64)
    people = tuple(dict.fromkeys(index["subject"]))
    if len(people) < 2:
        raise UsageError.at(
            study.path, expected="at least 2 subjects", found=f"only subject {people[0]}", remedy="train more subjects"
        )
    learned = _every_other(index)
    who = index["subject"].to_numpy(dtype=object).astype(str)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(values[learned], who[learned])
    hit = model.predict(values[~learned]) == who[~learned]
    rest = index[~learned]
    share = float(rest["subject"].value_counts(normalize=True).max())
    trials = len(rest[["subject", "trial"]].drop_duplicates())
    return Identity(context.stage, of, people, float(hit.mean()), len(hit), trials, share)


def _encoders(study: StudyDir) -> list[RunDir]:
    """Return the study's finished encoder runs, the fastest stage and the first fold first.

    Raises:
        UsageError: there is none.
    """
    found = []
    for run in study.runs():
        config = run.config()
        if config.stage in MODALITIES and not config.pooled and run.status().state == "done":
            found.append((CHEAPEST.index(config.stage), config.fold, config.seed, run.name, run))
    if not found:
        raise UsageError.at(
            study.path,
            expected="a finished encoder run",
            found="none",
            remedy=f"wait until one is done: eavdash status {study.name}",
        )
    return [run for *_, run in sorted(found, key=lambda entry: entry[:4])]


def _subjects(study: StudyDir) -> tuple[str, ...]:
    """Return the subjects of the study's splits, in natural order."""
    return natural_order(study_table(study.splits_file, ("subject",))["subject"])


def _one_per_subject(runs: Sequence[RunDir]) -> list[RunDir]:
    """Return the first run of each subject; other seeds would repeat it."""
    first: dict[str, RunDir] = {}
    for run in runs:
        first.setdefault(run.config().subject, run)
    return list(first.values())


@contextlib.contextmanager
def _scratch(run: RunDir) -> Iterator[RunDir]:
    """Create a temporary run folder beside the studies, which shares the study's cache, and delete it afterwards."""
    root = run.study.path.parent
    folder = Path(tempfile.mkdtemp(prefix=run.study.probe_scratch, dir=root))
    try:
        made = RunDir(folder / run.name)
        # Train from scratch: a pooled run has been trained on the true labels.
        made.create(run.config().replace(parents={}))
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_shuffled_labels(context: RunContext) -> pd.DataFrame:
    """Return the run's trials with labels shuffled among the units of each subject, and the column ``unit``.

    A unit is the trials of a group with the same label.

    Raises:
        SplitError: no permutation leaves every class in training.
    """
    trials = context.trials.assign(unit=context.trials["group"] + "\x1f" + context.trials["label"])
    random = generator(seeder(context.study_seed, context.fold, context.stage)("shuffled labels"))
    problem: SplitError | None = None
    for _ in range(_TRIES):
        shuffled: dict[tuple[str, str], str] = {}
        for subject, of in trials.groupby("subject", sort=False):
            units = of.drop_duplicates("unit")
            labels = units["label"].to_numpy(dtype=object)
            order = torch.randperm(len(units), generator=random).numpy()
            shuffled |= {(str(subject), unit): x for unit, x in zip(units["unit"], labels[order], strict=True)}
        labelled = [shuffled[key] for key in zip(trials["subject"], trials["unit"], strict=True)]
        changed = trials.assign(label=labelled)
        try:
            check_training(context, changed)
        except SplitError as error:
            problem = error
            continue
        return changed
    assert problem is not None
    raise problem


def _simple_features(windows: WindowSet, rows: np.ndarray) -> np.ndarray:
    """Return (window, feature): log-power per EEG channel, or mean and spread per mel band, colour or column."""
    found = []
    for row in rows:
        values = np.asarray(windows.values[int(row)], dtype=np.float64)
        mask = np.asarray(windows.mask[int(row)], dtype=bool)
        if windows.kind == "eeg":
            found.append(np.log(values[:, mask].var(axis=1) + 1e-30))
        else:
            valid = values[mask].reshape(-1, values.shape[-1]) if mask.any() else np.zeros((1, values.shape[-1]))
            found.append(np.concatenate([valid.mean(axis=0), valid.std(axis=0)]))
    return np.stack(found)


def _every_other(index: pd.DataFrame) -> np.ndarray:
    """Return (window,) bool, True for windows of every other group of each subject, in the order of the index."""
    numbers = index.groupby("subject", sort=False)["group"].transform(lambda groups: pd.factorize(groups)[0])
    return (numbers % 2 == 0).to_numpy(dtype=bool)
