"""The leakage probes that compute: an encoder trained on shuffled labels, and who a window is of.

In: a study with finished runs. Out: numbers; what they mean is said by ``eavdash.results.probes``. Nothing of the
study's own runs is changed: the encoder that is trained here is thrown away. Delegated: to stage1.py, training, with
the code that the study's own runs use; to scikit-learn, the linear classifier.
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
from eavdash.data.table import natural
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, SplitError, UsageError
from eavdash.store import RunDir, StudyDir
from eavdash.training.features import features
from eavdash.training.run_context import RunContext, check_training, open_run_context, read_windows
from eavdash.training.seeds import generator, reproducible, seeder
from eavdash.training.stage1 import train_encoder

#: Encoders from the one that is trained fastest.
CHEAPEST = ("eeg", "audio", "vision")
_TRIES = 50  # deals of labels that may leave a class out of training
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Shuffled:
    """``accuracy`` over ``n`` test trials with labels that were dealt anew; ``units`` of them are independent."""

    stage: str
    fold: int
    subjects: tuple[str, ...]
    accuracy: float
    n: int
    units: int
    majority: float  # share of the most frequent label among the test trials, as dealt


@dataclass(frozen=True)
class Identity:
    """``accuracy`` of telling ``subjects`` apart over ``n`` windows of ``trials`` trials that were not learned from."""

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
    """Train an encoder of the study again, on labels dealt anew within each subject, and test it on labels so dealt.

    The trials of a group that have one label keep one label together, in all splits: an encoder that recognises the
    *group* of a test trial (because trials of it, or copies of them, are in training) scores above chance, one that
    must recognise the emotion cannot. Bounded: one fold, the encoder that trains fastest, at most ``subjects`` subjects
    within subjects (across subjects, the fold as it is).

    Raises:
        UsageError: no encoder of the study has finished.
        SplitError: the labels cannot be dealt so that training has every class.
    """
    runs = _encoders(study)
    stage, fold = str(runs[0].config()["stage"]), int(runs[0].config()["fold"])
    chosen = [run for run in runs if run.config()["stage"] == stage and run.config()["fold"] == fold]
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
        tested = _trial_hits(rows[(rows["split"] == "test") & (rows["frame"] == -1)], context.classes)
        hits.append(tested["hit"].to_numpy(dtype=bool))
        labels += tested["label"].tolist()
        # Of trials that were decided: those without this recording stand for nothing.
        of = context.trials.merge(rows.loc[rows["split"] == "test", ["subject", "trial"]].drop_duplicates())
        units += len(of[["subject", "unit"]].drop_duplicates())
        people += list(dict.fromkeys(of["subject"]))
    every = np.concatenate(hits)
    majority = float(pd.Series(labels).value_counts(normalize=True).max())
    return Shuffled(stage, fold, tuple(people), float(every.mean()), len(every), units, majority)


def subject_identity(study: StudyDir, *, subjects: int = 10, device: str = "cpu", threads: int = 1) -> Identity:
    """How well a linear classifier tells the subjects of a study from single windows.

    Across subjects it reads the features of a finished encoder (the last fold's test subjects are new to it), otherwise
    simple features of the recordings of at most ``subjects`` subjects: encoders of different subjects have nothing in
    common. It learns from every
    other group of a subject (in natural order) and is tested on the rest.

    Raises:
        UsageError: no encoder has finished, or there is one subject only.
        DataError: the recordings do not fit together.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    run = _encoders(study)[0]
    where = torch.device(device)
    with reproducible(where, threads):
        within = bool(run.config()["subject"])
        context = open_run_context(run, where, people=_subjects(study)[:subjects] if within else ())
        windows = read_windows(context, context.stage, () if within else run.config()["input"].get("channels", ()))
        if windows is None:
            raise DataError.at(
                run.name, expected=f"{context.stage} recordings", found="none", remedy="mend the dataset"
            )
        index = windows.index
        if within:
            values, of = (
                _simple_features(windows.values, index["row"].to_numpy()),
                f"simple features of {context.stage}",
            )
        else:
            made = features(run, windows, where)
            kept = made.mask.unsqueeze(-1)
            mean = (made.tokens * kept).sum(1) / kept.sum(1).clamp_min(1)
            values, of = mean.numpy().astype(np.float64), f"the {context.stage} encoder's features"
    people = tuple(dict.fromkeys(index["subject"]))
    if len(people) < 2:
        raise UsageError.at(
            study.path, expected="at least 2 subjects", found=f"subject {people[0]} alone", remedy="train more subjects"
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
    """The study's finished encoders, the cheapest stage and the first fold first.

    Raises:
        UsageError: there is none.
    """
    found = []
    for run in study.runs():
        config = run.config()
        if config["stage"] in MODALITIES and not config.get("pooled") and run.status()["state"] == "done":
            found.append((CHEAPEST.index(config["stage"]), int(config["fold"]), int(config["seed"]), run.name, run))
    if not found:
        raise UsageError.at(
            study.path,
            expected="a finished run of an encoder",
            found="none",
            remedy=f"wait until one is done: eavdash status {study.name}",
        )
    return [run for *_, run in sorted(found, key=lambda entry: entry[:4])]


def _subjects(study: StudyDir) -> tuple[str, ...]:
    """The subjects that the study has split, in natural order."""
    return natural(pd.read_csv(study.splits_file, dtype=str, keep_default_na=False)["subject"])


def _one_per_subject(runs: Sequence[RunDir]) -> list[RunDir]:
    """The first run of each subject: seeds would only repeat it."""
    first: dict[str, RunDir] = {}
    for run in runs:
        first.setdefault(str(run.config()["subject"]), run)
    return list(first.values())


@contextlib.contextmanager
def _scratch(run: RunDir) -> Iterator[RunDir]:
    """A run's folder of its own beside the studies, so that the cache is the study's; gone afterwards."""
    root = run.study.path.parent
    folder = Path(tempfile.mkdtemp(prefix=run.study.probe_scratch, dir=root))
    try:
        made = RunDir(folder / run.name)
        # From scratch: what a run of all subjects has learned, it has learned from true labels.
        made.create({**run.config(), "parents": {}})
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_shuffled_labels(context: RunContext) -> pd.DataFrame:
    """The job's trials with labels dealt anew among the units of each subject, and the column ``unit``.

    A unit is the trials of a group with the same label.

    Raises:
        SplitError: no deal leaves every class in training.
    """
    trials = context.trials.assign(unit=context.trials["group"] + "\x1f" + context.trials["label"])
    random = generator(seeder(context.study_seed, context.fold, context.stage)("shuffled labels"))
    problem: SplitError | None = None
    for _ in range(_TRIES):
        dealt: dict[tuple[str, str], str] = {}
        for subject, of in trials.groupby("subject", sort=False):
            units = of.drop_duplicates("unit")
            labels = units["label"].to_numpy(dtype=object)
            order = torch.randperm(len(units), generator=random).numpy()
            dealt |= {(str(subject), unit): x for unit, x in zip(units["unit"], labels[order], strict=True)}
        labelled = [dealt[key] for key in zip(trials["subject"], trials["unit"], strict=True)]
        changed = trials.assign(label=labelled)
        try:
            check_training(context, changed)
        except SplitError as error:
            problem = error
            continue
        return changed
    assert problem is not None
    raise problem


def _trial_hits(rows: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Test trials with ``label`` and ``hit``: the mean of the windows' log-probabilities decides."""
    columns = [f"p_{c}" for c in classes]
    logs = rows.assign(**{c: np.log(rows[c].clip(lower=1e-12)) for c in columns})
    groups = logs.groupby(["subject", "trial"], sort=False)
    said = np.array(classes, dtype=object)[groups[columns].mean().to_numpy().argmax(1)]
    label = groups["label"].first()
    return pd.DataFrame({"label": label.to_numpy(), "hit": said == label.to_numpy(dtype=object)})


def _simple_features(windows: WindowSet, rows: np.ndarray) -> np.ndarray:
    """(window, feature): per EEG channel log power, per mel band mean and spread, per colour mean and spread."""
    found = []
    for row in rows:
        values = np.asarray(windows.values[int(row)], dtype=np.float64)
        mask = np.asarray(windows.mask[int(row)], dtype=bool)
        if windows.modality == "eeg":
            found.append(np.log(values[:, mask].var(axis=1) + 1e-30))
        else:
            seen = values[mask].reshape(-1, values.shape[-1])
            found.append(np.concatenate([seen.mean(axis=0), seen.std(axis=0)]))
    return np.stack(found)


def _every_other(index: pd.DataFrame) -> np.ndarray:
    """(window,) bool: windows of every other group of each subject, in the order of the index."""
    numbers: dict[tuple[str, str], int] = {}
    count: dict[str, int] = {}
    for subject, group in zip(index["subject"], index["group"], strict=True):
        if (subject, group) not in numbers:
            numbers[subject, group] = count.get(subject, 0)
            count[subject] = numbers[subject, group] + 1
    return np.array([numbers[k] % 2 == 0 for k in zip(index["subject"], index["group"], strict=True)], dtype=bool)
