"""Protocols: the division of trials into training, validation (to choose the epoch) and test.

In: the rows of a trial table (subject, trial, label, group) and a :class:`ProtocolConfig`. Out: :class:`Splits`, one
row per trial and fold. A subject that cannot be split has a sentence with the reason in ``problems``; the others are
split.

* ``conversation``: within a subject by group. The f-th group of each main label goes to fold f mod K; fold k tests,
  fold k + 1 validates, the rest trains. On EAV these are five folds of four speaking trials per class.
* ``blocks``: the same with blocks instead of groups: consecutive groups with the same main label stay together, so that
  a test group's neighbour of the same class is never in training. The longest blocks of each label are dealt first. On
  EAV these are three folds of 8, 8 and 4 speaking trials per class.
* ``paper`` (Yin et al. 2025): per class and in order, the first 70 % train, the rest tests; a note counts the trials of
  conversations that straddle the border.
* ``loso``, ``subject-kfold``: folds over subjects, whose first trials may be kept for scaling (calibration.py).

The order of the rows does not matter: subjects, trials and labels are taken in natural order.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import pandas as pd

from eavdash.config.choices import ACROSS
from eavdash.config.schema import ProtocolConfig
from eavdash.data.calibration import calibration_rows
from eavdash.data.split_size import refuse_too_many_rows
from eavdash.data.table import natural_sort
from eavdash.errors import SplitError
from eavdash.text import natural_key, natural_order

COLUMNS = ("subject", "trial", "group", "fold", "split")


@dataclass(frozen=True, eq=False)
class Splits:
    """``frame``: columns subject, trial, group (text), fold (int from 0), split (train, validation, test, calibration
    or unused).

    ``problems``: for a subject that is not split (or, across subjects, whose fold is left out) a sentence with the
    reason. ``notes``: remarks needed to interpret the results.
    """

    frame: pd.DataFrame
    problems: dict[str, str]
    notes: tuple[str, ...] = ()


def make_splits(trials: pd.DataFrame, protocol: ProtocolConfig) -> Splits:
    """Make the folds of ``trials`` under a protocol. Subjects may have different numbers of folds.

    Raises:
        SplitError: a protocol over subjects has fewer than 3 subjects, there is only one label, or the folds would have
            more than :data:`~eavdash.config.limits.SPLIT_ROWS` rows.
    """
    trials = natural_sort(trials[["subject", "trial", "label", "group"]])
    refuse_too_many_rows(trials, protocol)
    if protocol.name in ACROSS:
        return _across(trials, protocol)
    parts, problems, notes = [], {}, []
    for subject in natural_order(trials["subject"]):
        rows = trials[trials["subject"] == subject]
        try:
            part, note = (_paper if protocol.name == "paper" else _within)(subject, rows, protocol)
        except SplitError as error:
            problems[subject] = str(error)
        else:
            parts.append(part)
            notes += [note] if note else []
    if protocol.name != "paper":
        check_splits(_frame(parts))
    return Splits(_frame(parts), problems, tuple(notes))


def check_splits(frame: pd.DataFrame) -> None:
    """Check that no group is in two splits of one fold, trials for calibration aside, and no trial is listed twice.

    Raises:
        SplitError: one is.
    """
    used = frame[frame["split"] != "unused"]
    counts = {
        "trial": used.groupby(["fold", "subject", "trial"])["split"].size(),
        "group": used[used["split"] != "calibration"].groupby(["fold", "subject", "group"])["split"].nunique(),
    }
    for what, count in counts.items():
        if (count > 1).any():
            fold, subject, name = count[count > 1].index[0]
            raise SplitError.at(
                f"subject {subject}, {what} {name}, fold {fold}",
                expected=f"the {what} in one split",
                found=f"{count[count > 1].iloc[0]} entries" if what == "trial" else "several splits",
                remedy="give trials that belong together the same group and make the splits again",
            )


def fold_numbers(frame: pd.DataFrame) -> tuple[int, ...]:
    """The folds of a split frame, ascending."""
    return tuple(sorted({int(fold) for fold in frame["fold"]}))


def group_folds(trials: pd.DataFrame, folds: int) -> dict[str, int]:
    """Fold of each group of one subject under ``conversation``: at most ``folds`` folds, none empty.

    Groups are taken in the order of their first trials, and the f-th group of a main label goes to fold f mod K. If
    that would leave folds empty (groups that share a main label by chance, such as sessions), groups move into them
    from fuller folds, provided that every fold then tests every class; else K is reduced.
    """
    return _deal(_labels_by_group(trials), folds)


def block_folds(trials: pd.DataFrame, folds: int) -> dict[str, int]:
    """Fold of each group of one subject under ``blocks``: :func:`group_folds` of blocks of equally labelled groups."""
    by_group = _labels_by_group(trials)
    stretches: list[tuple[str, list[str]]] = []  # main label and groups
    for group, labels in by_group.items():
        label = _main_label(labels)
        if stretches and stretches[-1][0] == label:
            stretches[-1][1].append(group)
        else:
            stretches.append((label, [group]))
    stretches.sort(key=lambda s: -len(s[1]))  # stable: blocks of equal length stay in temporal order
    content = {str(n): [x for g in groups for x in by_group[g]] for n, (_, groups) in enumerate(stretches)}
    fold = _deal(content, folds)
    return {group: fold[str(n)] for n, (_, groups) in enumerate(stretches) for group in groups}


def _labels_by_group(trials: pd.DataFrame) -> dict[str, list[str]]:
    """The labels of each group's trials; groups in order of their first trials."""
    found: dict[str, list[str]] = {}
    for group, label in zip(trials["group"].tolist(), trials["label"].tolist(), strict=True):
        found.setdefault(group, []).append(label)
    return found


def _deal(by_group: dict[str, list[str]], folds: int) -> dict[str, int]:
    main = {group: _main_label(labels) for group, labels in by_group.items()}
    classes = {label for labels in by_group.values() for label in labels}
    # With more folds, some would be empty before groups move, and some would not test every class afterwards.
    most = max(
        max(Counter(main.values()).values()),
        min(sum(label in labels for labels in by_group.values()) for label in classes),
    )
    for count in range(min(folds, len(main), most), 1, -1):
        seen: Counter[str] = Counter()
        fold = {}
        for group, label in main.items():
            fold[group] = seen[label] % count
            seen[label] += 1
        if len(set(fold.values())) == count:
            return fold
        filled = _fill(fold, count)
        tested = [{x for g in filled if filled[g] == f for x in by_group[g]} for f in range(count)]
        if all(labels == classes for labels in tested):
            return filled
    return dict.fromkeys(main, 0)


def _fill(fold: dict[str, int], count: int) -> dict[str, int]:
    """Move the last group of the fullest fold into each empty fold."""
    fold = dict(fold)
    for empty in range(count):
        sizes = Counter(fold.values())
        if not sizes[empty]:
            fullest = min(sizes, key=lambda f: (-sizes[f], f))
            fold[[g for g in fold if fold[g] == fullest][-1]] = empty
    return fold


def _main_label(labels: list[str]) -> str:
    count = Counter(labels)
    return min(count, key=lambda label: (-count[label], natural_key(label)))


def _within(subject: str, rows: pd.DataFrame, protocol: ProtocolConfig) -> tuple[pd.DataFrame, str]:
    _need_two_classes(f"subject {subject}", rows)
    groups = rows["group"].nunique()
    if groups < 2:
        raise SplitError.at(
            f"subject {subject}",
            expected="at least 2 groups of trials to split between training and test",
            found=f"{groups} ({rows['group'].iloc[0]})",
            remedy="give the trials of different sessions or blocks different groups, or use another protocol",
        )
    deal = block_folds if protocol.name == "blocks" else group_folds
    fold = deal(rows, protocol.folds)
    lacking = _lacking(rows, fold)
    if lacking:
        smaller = next(
            (k for k in range(min(protocol.folds, groups) - 1, 1, -1) if not _lacking(rows, deal(rows, k))), 0
        )
        remedy = f"set protocol.folds={smaller}" if smaller else "record the class in more groups or leave it out"
        raise SplitError.at(
            f"subject {subject}", expected="every class in training in every fold", found=lacking, remedy=remedy
        )
    count = max(fold.values()) + 1
    of_row = rows["group"].map(fold)
    note = f"subject {subject}: two folds leave no groups for validation, so epochs are fixed" if count == 2 else ""
    return _folds(rows, of_row, count), note


def _lacking(rows: pd.DataFrame, fold: dict[str, int]) -> str:
    """A description of what a fold's training lacks; "" if nothing."""
    count = max(fold.values()) + 1
    if count == 1:
        labels = len({_main_label(of) for of in _labels_by_group(rows).values()})
        one = "each mainly of another class" if labels == len(fold) else "in a single block of each class"
        return f"{len(fold)} groups, {one}"
    of_row = rows["group"].map(fold)
    for k in range(count):
        missing = set(rows["label"]) - set(rows["label"][_assigned(of_row, k, count) == "train"])
        if missing:
            return f"no {' or '.join(natural_order(missing))} in training of fold {k}"
    return ""


def _assigned(fold: pd.Series, k: int, count: int) -> pd.Series:
    """Split of each row when fold ``k`` of ``count`` tests; with two folds there is no validation."""
    split = pd.Series("train", index=fold.index, dtype="str")
    split[fold == k] = "test"
    if count > 2:
        split[fold == (k + 1) % count] = "validation"
    return split


def _folds(rows: pd.DataFrame, fold: pd.Series, count: int) -> pd.DataFrame:
    return pd.concat([rows.assign(fold=k, split=_assigned(fold, k, count)) for k in range(count)], ignore_index=True)


def _paper(subject: str, rows: pd.DataFrame, protocol: ProtocolConfig) -> tuple[pd.DataFrame, str]:
    _need_two_classes(f"subject {subject}", rows)
    split = pd.Series("test", index=rows.index, dtype="str")
    for label in natural_order(rows["label"]):
        of_class = rows.index[rows["label"] == label]
        train = math.floor((1 - protocol.test_share) * len(of_class) + 0.5)
        if not 0 < train < len(of_class):
            raise SplitError.at(
                f"subject {subject}",
                expected=f"trials of {label} for both training and test",
                found=f"{len(of_class)} trials, {train} of them for training",
                remedy="change protocol.test_share, or leave the class out",
            )
        split[of_class[:train]] = "train"
    shared = set(rows["group"][split == "train"])
    straddling = int((rows["group"].isin(shared) & (split == "test")).sum())
    test = int((split == "test").sum())
    note = f"subject {subject}: {straddling} of {test} test trials share a group with training trials"
    return rows.assign(fold=0, split=split), note if straddling else ""


def _across(trials: pd.DataFrame, protocol: ProtocolConfig) -> Splits:
    subjects = natural_order(trials["subject"])
    if len(subjects) < 3:
        raise SplitError.at(
            f"protocol {protocol.name}",
            expected="at least 3 subjects: to train on, to validate and to test",
            found=f"{len(subjects)} ({', '.join(subjects)})",
            remedy="choose more subjects or a protocol within subjects",
        )
    _need_two_classes(f"protocol {protocol.name}", trials)
    count = len(subjects) if protocol.name == "loso" else min(protocol.folds, len(subjects))
    fold = trials["subject"].map({s: i % count for i, s in enumerate(subjects)})
    aside = calibration_rows(trials, protocol)
    parts, problems = [], {}
    for k in range(count):
        split = _assigned(fold, k, count).mask(aside, "calibration")
        missing = natural_order(set(trials["label"][~aside]) - set(trials["label"][split == "train"]))
        if missing:
            for subject in natural_order(trials["subject"][split == "test"]):
                problems[subject] = str(
                    SplitError.at(
                        f"fold {k}, which tests subject {subject}",
                        expected="every class among the training subjects",
                        found=f"no {' or '.join(missing)}",
                        remedy="choose more subjects or fewer folds",
                    )
                )
        else:
            parts.append(trials.assign(fold=k, split=split))
    check_splits(frame := _frame(parts))
    notes = ("two folds over subjects leave no subject for validation, so epochs are fixed",) if count == 2 else ()
    return Splits(frame, problems, notes)


def _need_two_classes(where: str, rows: pd.DataFrame) -> None:
    labels = natural_order(rows["label"])
    if len(labels) < 2:
        raise SplitError.at(
            where, expected="at least 2 labels", found=f"one ({', '.join(labels)})", remedy="choose other trials"
        )


def _frame(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The parts with the columns of :attr:`Splits.frame`, by subject and fold."""
    if not parts:
        return pd.DataFrame({c: pd.Series(dtype="int64" if c == "fold" else "str") for c in COLUMNS})
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]
