"""The spelling of labels, subjects and groups: Unicode forms, case, blanks and numbers.

In: rows of a trial table and :class:`~eavdash.config.schema.NamesConfig`. Out: the rows with names written alike, and
sentences about names that differ in nothing else. Each name is rewritten by itself, whatever others there are, so that
a study and what is added to it later agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import pandas as pd

from eavdash.config.schema import NamesConfig
from eavdash.errors import TableError, sentence
from eavdash.text import natural_order, plural, shortened

#: Texts that programs write for an empty cell.
_EMPTY = frozenset({"nan", "na", "n/a", "#n/a", "<na>", "none", "null", "nat", "nil", "undefined", "-", "?"})
_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:[.,](\d*?)0*)?")
_UNSEEN = re.compile("[\u00ad\u200b\u2060\ufeff]")
_SHOWN = 5  # examples
_MOST = 40  # sentences


def spell(name: str, how: str) -> str:
    """Return a name as ``how`` demands: written (as it is), unicode (composed), or merged.

    Merged names are in lower case, with single blanks, and numbers without needless zeros: 01 and 1.0 are 1.
    """
    if how == "written":
        return name
    if how == "unicode":
        return unicodedata.normalize("NFC", name)
    name = " ".join(_UNSEEN.sub("", unicodedata.normalize("NFKC", name)).lower().split())
    if number := _NUMBER.fullmatch(name):
        sign, whole, fraction = number.groups()
        name = f"{'-' if sign == '-' else ''}{whole}{'.' + fraction if fraction else ''}"
    return name


def spellings(names: NamesConfig) -> dict[str, str]:
    """Return how each column of names is written; groups belong to subjects."""
    return {"label": names.labels, "subject": names.subjects, "group": names.subjects}


def respelled(frame: pd.DataFrame, names: NamesConfig) -> pd.DataFrame:
    """Return the rows with their names written as ``names`` demands; the frame itself if that changes nothing.

    Raises:
        TableError: a trial of two subjects that become one has the same name.
    """
    changed = {}
    for column, how in spellings(names).items():
        found = {name: spell(name, how) for name in frame[column].unique()}
        if any(name != new for name, new in found.items()):
            changed[column] = frame[column].map(found).astype(frame[column].dtype)
    if not changed:
        return frame
    new = frame.assign(**changed)
    if len(twice := new[new.duplicated(["subject", "trial"], keep=False)]):
        first = twice.iloc[0]
        same = (new["subject"] == first["subject"]) & (new["trial"] == first["trial"])
        raise TableError.at(
            f"subject {first['subject']}, trial {first['trial']}",
            expected="each trial of a subject once",
            found=f"it in subjects {' and '.join(map(repr, frame['subject'][same]))}, which are taken as one",
            remedy="rename a trial or a subject, or set names.subjects=written",
        )
    return new


def doubts(frame: pd.DataFrame, names: NamesConfig) -> list[str]:
    """Return a sentence for labels, subjects and groups that may be one and the same, or no name at all.

    ``frame``: as in the table, or as :func:`respelled`.
    """
    found = []
    for column, what, option in (("label", "label", "--merge-labels"), ("subject", "person", "--merge-subjects")):
        counts = Counter(frame[column])
        alike: dict[str, list[str]] = {}
        for name in natural_order(counts):
            alike.setdefault(spell(name, "merged"), []).append(name)
        how = spellings(names)[column]
        for same in [same for same in alike.values() if len(same) > 1]:
            texts = [f"{_shown(name)!r} in {plural(counts[name], 'trial')}" for name in same]
            apart = len({spell(name, how) for name in same}) > 1
            remedy = f"correct the table, or take them as one ({option}, names.{column}s=merged)"
            found.append(
                sentence(
                    f"column {column}",
                    f"one spelling of each {what}",
                    f"{' and '.join(texts)}{'' if apart else ', taken as one'}",
                    remedy if apart else "nothing, if they are one",
                )
            )
        for name in natural_order(counts):
            if spell(name, "merged") in _EMPTY:
                text = f"{name!r} in {plural(counts[name], 'trial')}, which programs write for an empty cell"
                found.append(sentence(f"column {column}", f"a {column}", text, f"correct it if it is no {column}"))
    return found[:_MOST] + _groups(frame)


def _groups(frame: pd.DataFrame) -> list[str]:
    """A sentence about groups of one subject that differ in nothing but their spelling: they may be split apart."""
    pairs = frame.loc[frame["group"] != frame["trial"], ["subject", "group"]].drop_duplicates()
    alike: dict[tuple[str, str], list[str]] = {}
    for subject, group in zip(pairs["subject"], pairs["group"], strict=True):
        alike.setdefault((subject, spell(group, "merged")), []).append(group)
    texts = [
        f"{' and '.join(map(repr, map(_shown, same)))} of subject {subject}"
        for (subject, _), same in alike.items()
        if len(same) > 1
    ]
    if not texts:
        return []
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    remedy = "correct the table, or take them as one (--merge-subjects, names.subjects=merged)"
    return [sentence("column group", "one spelling of each group", ", ".join(texts[:_SHOWN]) + more, remedy)]


def _shown(name: str) -> str:
    return shortened(name, 60)
