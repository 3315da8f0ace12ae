"""Findings of the leakage probes of a study, stored in its folder, and their interpretation as sentences.

In: ``probes.json``. Out: findings by probe and one sentence each. A probe informs and never blocks: what it shows may
be inherent in a recording (a face reveals the person) rather than a mistake.

* ``shuffled``: an encoder trained and tested on labels shuffled among the groups of a subject. These labels carry no
  information about other groups, so accuracy must fall to chance; above chance, training and test share something.
* ``time``: the label guessed from the trial's position in the session alone (timeonly.py).
* ``identity``: accuracy of a linear classifier of the subject.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any

import pandas as pd
from pydantic import ConfigDict

from eavdash.config.choices import ACROSS
from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError, IntegrityError, UsageError
from eavdash.results import study_scores
from eavdash.results.columns import column, study_table
from eavdash.results.metrics import codes
from eavdash.results.scored import Scored
from eavdash.results.statistics import MIN_TRIALS, chance_line
from eavdash.results.timeonly import time_scores
from eavdash.store import StudyDir
from eavdash.store.record import FIRST, UNWRITTEN, Part, Record, Whole, read_record, write_record
from eavdash.text import p_value

PROBES = ("shuffled", "time", "identity")
#: Gain over chance from which the time-only score explains a good part of an accuracy, in fractions.
MATTERS = 0.1


class Finding(Part):
    """The accuracy of a probe compared with chance; further keys say what was classified."""

    sentence: str
    accuracy: float
    n: Whole  # classified items
    independent: Whole = 0
    line: float  # accuracy above which guessing is rejected
    above: bool
    chance: float | None = UNWRITTEN
    p: float | None = UNWRITTEN  # one-sided, of guessing; of the probe ``time``
    stage: str | None = UNWRITTEN  # whose encoder was trained again
    of: str | None = UNWRITTEN  # what the classifier of the subject read
    made: str | None = UNWRITTEN  # ISO 8601


class Findings(Record):
    """The content of probes.json."""

    model_config = ConfigDict(title="findings of probes")

    schema_version: Whole = FIRST
    shuffled: Finding | None = UNWRITTEN
    time: Finding | None = UNWRITTEN
    identity: Finding | None = UNWRITTEN


def read(study: StudyDir) -> dict[str, Finding]:
    """Return the findings of the study's probes, by probe; empty if none was run.

    Raises:
        IntegrityError: the file is damaged.
    """
    return _by_probe(_read(study))


def keep(study: StudyDir, found: dict[str, Finding]) -> dict[str, Finding]:
    """Add findings to the stored ones, replacing those of the same probes."""
    made = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    every = _read(study).replace(**{name: finding.replace(made=made) for name, finding in found.items()})
    write_record(study.probes_file, every)
    return _by_probe(every)


def _read(study: StudyDir) -> Findings:
    if not os.path.lexists(study.probes_file):
        return Findings()
    return read_record(study.probes_file, Findings, f"delete it and run eavdash probe {study.name}")


def _by_probe(findings: Findings) -> dict[str, Finding]:
    return {name: found for name in PROBES if (found := getattr(findings, name)) is not None}


def finding(
    name: str, accuracy: float, n: int, independent: int, classes: int, majority: float, **more: Any
) -> Finding:
    """Return a probe's finding: its accuracy compared with chance, and a sentence.

    Args:
        n: classified items. independent: number of independent ones (or groups).
        classes: number of classes. majority: share of the most frequent class among the items.
    """
    line = chance_line(independent, classes, majority=majority)
    chance = max(1 / classes, majority)
    beside: dict[str, Any] = {"p": guess_p(accuracy, independent, chance)} if name == "time" else {}
    made = Finding(
        sentence="",
        accuracy=accuracy,
        n=n,
        independent=independent,
        line=line,
        above=bool(accuracy > line),
        chance=chance,
        **beside,
        **more,
    )
    return made.replace(sentence=_sentence(name, made))


def guess_p(accuracy: float, n: int, chance: float) -> float:
    """Return the probability that guessing, right with probability ``chance``, reaches an accuracy over n items."""
    if n <= 0 or chance >= 1:
        return 1.0
    from scipy.special import bdtrc

    hits = math.floor(accuracy * n + 1e-9)
    return float(bdtrc(hits - 1, n, chance)) if hits > 0 else 1.0


def time_only(study: StudyDir, scored: Scored | None = None) -> Finding:
    """Run the probe ``time`` on the study's splits and labels: on the trials and folds that finished runs have tested.

    Before any run is done, on all that are planned. ``scored``: the finished runs' trials, if they have been read.

    Raises:
        UsageError: the study stores no labels, or no trial is tested.
    """
    document = study.study()
    config = recorded_config(document)
    labels = column(study, "label")
    splits = study_table(study.splits_file, ("subject", "trial", "fold", "split"))
    splits = splits[(splits["split"] != "test") | _tested(scored or study_scores.read(study, verify=False), splits)]
    scores = time_scores(splits, labels, config.protocol.name in ACROSS)
    if scores.empty:
        raise UsageError.at(study.path, expected="tested trials", found="none", remedy="plan the study again")
    n = int(scores["n"].sum())
    # Subjects share the order of the session, so only one subject's trials count as independent.
    return finding(
        "time",
        float((scores["accuracy"] * scores["n"]).sum() / n),
        n,
        int(scores["n"].min()),
        len(document.classes),
        float(scores["majority"].mean()),
        subjects={row.subject: row.accuracy for row in scores.itertuples(index=False)},
    )


def by_subject(found: Finding) -> dict[str, float]:
    """Return the accuracies by subject of a finding of :func:`time_only`; empty for other probes."""
    return dict((found.model_extra or {}).get("subjects", {}))


def _tested(found: Scored, splits: pd.DataFrame) -> pd.Series:
    """Return which rows of the splits belong to a fold (and subject) that a finished run tested."""
    rows = found.rows()
    if not len(rows):
        return pd.Series(True, splits.index)
    subject, fold = found.subject.code[rows], found.number("fold")[rows]
    _, first = codes(subject, fold)
    done = pd.MultiIndex.from_arrays([[found.subject.texts[code] for code in subject[first]], fold[first]])
    return pd.Series(pd.MultiIndex.from_frame(splits[["subject", "fold"]]).isin(done), splits.index)


def missing(study: StudyDir) -> list[str]:
    """Return the probes that have not been run; the time-only score is always available."""
    try:
        return [name for name in PROBES if name not in read(study) and name != "time"]
    except IntegrityError:
        return list(PROBES)


def sentences(study: StudyDir, time_alone: Finding | None = None) -> list[str]:
    """Return the sentences shown beside the accuracy: findings, and the time-only score of the tested trials.

    ``time_alone``: that score, if it is known.
    """
    found: dict[str, Finding] = {}
    try:
        found = read(study)
        found = {**found, "time": time_alone or time_only(study)}
    except EavdashError as error:
        if isinstance(error, IntegrityError):
            return [str(error)]
    return [found[name].sentence for name in PROBES if name in found]


def _sentence(name: str, found: Finding) -> str:
    score, line = f"{100 * found.accuracy:.0f} %", f"{100 * found.line:.0f} %"
    if name == "shuffled":
        result = f"With shuffled labels, {found.stage} scores {score} (n = {found.n} trials, chance line {line}): "
        if found.above:
            return result + "above chance, so training and test share something other than the emotion."
        if found.independent < MIN_TRIALS:
            return result + "at chance, but there are too few groups to detect a small leak."
        return result + "at chance, as expected."
    if name == "time":
        chance = found.chance or 0.0
        position = "A trial's position in the session alone (by the order of trial names)"
        result = (
            f"{position} scores {score}, {round(100 * (found.accuracy - chance)):+d} points from chance "
            f"(n = {found.n} trials, {p_value(found.p or 0.0)}): "
        )
        if not found.above:
            return result + "time does not predict the label under this protocol."
        if found.accuracy - chance < MATTERS:
            return result + "a small effect of time, which explains no accuracy that is well above this score."
        return result + "time predicts the label here, so accuracies must be compared with this score."
    result = f"A linear classifier identifies the subject with {score} from {found.of} (chance line {line}): "
    if found.above:
        return result + "within-subject scores say nothing about new subjects."
    return result + "subjects cannot be distinguished."
