"""Two studies on the same trials: paired by subject and trial, with what makes them differ.

In: two studies. Out: a :class:`Between`. In each study the decisions of all folds and seeds on a trial share its
weight; a subject is scored on the trials that both studies have tested, whose labels agree. Holm's correction is over
the stages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from eavdash.config.choices import ACROSS, STAGES
from eavdash.config.convert import recorded_config
from eavdash.results import comparisons
from eavdash.results.columns import study_table
from eavdash.results.inference import interval
from eavdash.results.marks import study_marks
from eavdash.results.metrics import scores_of
from eavdash.results.paired import Comparison, compare, holm
from eavdash.store import StudyDir
from eavdash.text import plural

_SPLIT = ("subject", "trial", "group", "fold", "split")
_KEYS = ["subject", "trial"]


@dataclass(frozen=True)
class Between:
    """One study against another.

    ``rows``: by stage, first minus second, corrected over the stages; ``people``: a and b by subject, by stage; both in
    ``metric``.
    ``relabelled``: common trials left out because their labels differ. ``warnings``: why the difference may not be that
    of the settings under comparison. ``why_not``: why there is no verdict; empty if there is one.
    """

    rows: dict[str, Comparison]
    people: dict[str, pd.DataFrame]
    relabelled: int
    warnings: tuple[str, ...]
    why_not: str
    metric: str = "accuracy"


def between(first: StudyDir, a: pd.DataFrame, second: StudyDir, b: pd.DataFrame, metric: str = "accuracy") -> Between:
    """Compare two studies by their ``tables.trials``, in a metric of each subject.

    Raises:
        IntegrityError: the document or the splits of one of them cannot be read.
    """
    rows: dict[str, Comparison] = {}
    people: dict[str, pd.DataFrame] = {}
    relabelled = 0
    for stage in (s for s in STAGES if s in set(a["stage"]) & set(b["stage"])):
        mine, other = _by_trial(a, stage), _by_trial(b, stage)
        common = mine.merge(other, on=_KEYS, suffixes=("_a", "_b"))
        agree = common["label_a"] == common["label_b"]
        relabelled = max(relabelled, int((~agree).sum()))
        common = common[agree]
        if common.empty:
            continue
        sides = (table[table["stage"] == stage].merge(common[_KEYS], on=_KEYS) for table in (a, b))
        each = pd.concat([scores_of(side, "subject", metric) for side in sides], axis=1, keys=["a", "b"])
        found = compare(first.name, each["a"].tolist(), second.name, each["b"].tolist())
        gap = (each["a"] - each["b"]).round(12).to_numpy(float)
        low, high, _ = interval(gap)
        either = pd.concat([mine[_KEYS], other[_KEYS]]).drop_duplicates()
        rows[stage] = replace(
            found,
            low=low,
            high=high,
            trials=len(common),
            trials_left_out=len(either) - len(common),
            subjects_left_out=int(either["subject"].nunique()) - len(each),
        )
        people[stage] = each
    corrected = holm([c.p for c in rows.values()])
    rows = {stage: replace(c, p_holm=p) for (stage, c), p in zip(rows.items(), corrected, strict=True)}
    unfinished = [f"{s.name}: {said}" for s in (first, second) if (said := comparisons.unfinished(s))]
    return Between(rows, people, relabelled, tuple(_warnings(first, second, rows)), " ".join(unfinished), metric)


def differing_splits(first: StudyDir, second: StudyDir) -> tuple[int, int]:
    """Return how many of the trials that both studies test have other training trials, and how many both test.

    A trial that several folds test is compared with the training trials of all of them together.

    Raises:
        IntegrityError: the splits or the document of a study cannot be read.
    """
    mine, other = _training(first), _training(second)
    common = mine.keys() & other.keys()
    return sum(mine[key] != other[key] for key in common), len(common)


def _by_trial(trials: pd.DataFrame, stage: str) -> pd.DataFrame:
    rows = trials[trials["stage"] == stage]
    return rows[[*_KEYS, "label"]].drop_duplicates()


def _training(study: StudyDir) -> dict[tuple[str, str], frozenset[tuple[str, str]]]:
    """Return the training trials of the models that decide on a test trial, by (subject, trial)."""
    splits = study_table(study.splits_file, _SPLIT)
    scope = ["fold"] if recorded_config(study.study()).protocol.name in ACROSS else ["fold", "subject"]
    train = splits[splits["split"] == "train"]
    sets = {
        key: frozenset(zip(rows["subject"], rows["trial"], strict=True))
        for key, rows in train.groupby(scope, sort=False)
    }
    found: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}
    for key, rows in splits[splits["split"] == "test"].groupby(scope, sort=False):
        known = sets.get(key, frozenset())
        for pair in zip(rows["subject"], rows["trial"], strict=True):
            found[pair] = found[pair] | known if pair in found else known
    return found


def _warnings(first: StudyDir, second: StudyDir, rows: dict[str, Comparison]) -> list[str]:
    documents = first.study(), second.study()
    said = []
    changed, common = differing_splits(first, second)
    if changed:
        said.append(
            f"The splits differ: {changed} of {plural(common, 'common test trial')} were decided by models that were "
            "trained on other trials, so the difference is also one of the training data."
        )
    protocols = [recorded_config(document).protocol.name for document in documents]
    if protocols[0] != protocols[1]:
        said.append(f"The protocols differ: {protocols[0]} and {protocols[1]}.")
    if any(name in ACROSS for name in protocols):
        said.append(
            "Across subjects the models of several people share training data, so p is too small to an unknown degree."
        )
    prints = [document.dataset.fingerprint for document in documents]
    shared = prints[0].keys() & prints[1].keys()
    if other := sum(prints[0][name] != prints[1][name] for name in shared):
        said.append(f"The recordings or labels of {plural(other, 'subject')} have changed between the studies.")
    if documents[0].dataset.simulated != documents[1].dataset.simulated:
        said.append("The recordings of one study are simulated, those of the other are not.")
    marks = [{mark.text for mark in study_marks(document)} for document in documents]
    for study, own, others in ((first, marks[0], marks[1]), (second, marks[1], marks[0])):
        if alone := sorted(own - others):
            said.append(f"Only {study.name} is marked: {'; '.join(alone)}.")
    if left := max((c.trials_left_out for c in rows.values()), default=0):
        said.append(f"{plural(left, 'trial')} that only one of both has tested are left out.")
    return said
