"""Leakage probes: what they found, kept beside the study, and what that means in words.

In: ``probes.json``. Out: findings by probe and one sentence each. A probe informs, it does not block: what it shows may
be in the nature of a recording (a face tells who it is) rather than a mistake.

* ``shuffled``: an encoder trained and tested on labels that were dealt anew among the groups of a subject. Nothing can
  be learned from them about other groups, so it must fall to chance; above it, training and test share something.
* ``time``: the label guessed from the trial's place in the session alone (timeonly.py).
* ``identity``: how well a linear classifier tells who a window is of.
"""

from __future__ import annotations

import time
from typing import Any

from eavdash.config.convert import from_dict
from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError, IntegrityError, UsageError
from eavdash.results.columns import column
from eavdash.results.statistics import MIN_TRIALS, chance_line
from eavdash.results.timeonly import time_scores
from eavdash.store import StudyDir
from eavdash.store.atomic import read_json, write_json

PROBES = ("shuffled", "time", "identity")
ACROSS = ("loso", "subject-kfold")
Finding = dict[str, Any]


def read(study: StudyDir) -> dict[str, Finding]:
    """What the study's probes found, by probe; empty where none was made.

    Raises:
        IntegrityError: the file is damaged.
    """
    if not study.probes_file.exists():
        return {}
    found = read_json(study.probes_file)
    if not isinstance(found, dict) or not all(isinstance(f, dict) and "sentence" in f for f in found.values()):
        raise IntegrityError.at(
            study.probes_file, expected="findings of probes", found="something else", remedy="delete it, probe again"
        )
    return {name: found[name] for name in PROBES if name in found}


def keep(study: StudyDir, found: dict[str, Finding]) -> dict[str, Finding]:
    """Write findings beside those that are there; what was found again replaces what was."""
    made = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    every = {**read(study), **{name: {**finding, "made": made} for name, finding in found.items()}}
    write_json(study.probes_file, every)
    return every


def finding(
    name: str, accuracy: float, n: int, independent: int, classes: int, majority: float, **more: Any
) -> Finding:
    """A probe's accuracy judged against chance, with its sentence.

    Args:
        n: items that were decided. independent: how many of them (or groups of them) are independent.
        classes: how many answers there are; majority: the share of the most frequent one among the items.
    """
    line = chance_line(independent, classes, majority=majority)
    made = {"accuracy": accuracy, "n": n, "independent": independent, "line": line, "above": accuracy > line, **more}
    return {**made, "chance": max(1 / classes, majority), "sentence": _sentence(name, made)}


def time_only(study: StudyDir) -> Finding:
    """The probe ``time``, from the study's splits and labels alone.

    Raises:
        UsageError: the study keeps no labels, or no trial is tested.
    """
    import pandas as pd

    document = study.study()
    config: StudyConfig = from_dict(document["config"])
    splits = pd.read_csv(study.splits_file, dtype=str, keep_default_na=False)
    scores = time_scores(splits, column(study, "label"), config.protocol.name in ACROSS)
    if scores.empty:
        raise UsageError.at(study.path, expected="tested trials", found="none", remedy="plan the study again")
    n = int(scores["n"].sum())
    # Subjects share the order of a session, so that only one person's trials count as independent.
    return finding(
        "time",
        float((scores["accuracy"] * scores["n"]).sum() / n),
        n,
        int(scores["n"].min()),
        len(document["classes"]),
        float(scores["majority"].mean()),
        subjects={row.subject: row.accuracy for row in scores.itertuples(index=False)},
    )


def missing(study: StudyDir) -> list[str]:
    """The probes that have not been made; the time-only score needs none."""
    try:
        return [name for name in PROBES if name not in read(study) and name != "time"]
    except IntegrityError:
        return list(PROBES)


def sentences(study: StudyDir) -> list[str]:
    """What stands beside the study's accuracy: its findings, and the time-only score also where nobody has probed."""
    try:
        found = read(study)
        if "time" not in found:
            found = {**found, "time": time_only(study)}
    except EavdashError as error:
        if isinstance(error, IntegrityError):
            return [str(error)]
    return [str(found[name]["sentence"]) for name in PROBES if name in found]


def _sentence(name: str, found: Finding) -> str:
    score, line = f"{100 * found['accuracy']:.0f} %", f"{100 * found['line']:.0f} %"
    if name == "shuffled":
        what = f"With shuffled labels {found['stage']} scores {score} (n = {found['n']} trials, chance line {line}): "
        if found["above"]:
            return what + "above chance, so training and test share something other than the emotion."
        if found["independent"] < MIN_TRIALS:
            return what + "chance, though the groups are too few to see a small leak."
        return what + "chance, as it should be."
    if name == "time":
        place = "A trial's place in the session alone (by the order of trials' names)"
        what = f"{place} scores {score} (n = {found['n']} trials, chance line {line}): "
        if found["above"]:
            return what + "time stands in for emotion here, and an accuracy must be read against it."
        return what + "it does not tell the emotion under this protocol."
    what = f"Who a window is of is told with {score} from {found['of']} (chance line {line}): "
    if found["above"]:
        return what + "within-subject scores say nothing about new people."
    return what + "subjects cannot be told apart."
