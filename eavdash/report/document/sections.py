"""The sections of a report, made of what was run; what was not is named, and nothing is said about it.

In: a :class:`~eavdash.report.document.contents.Contents`. Out: :class:`~eavdash.report.document.blocks.Section`.
"""

from __future__ import annotations

import math
import platform
import time
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from eavdash import __version__
from eavdash.config.choices import ACROSS
from eavdash.report import theme
from eavdash.report.document import methods
from eavdash.report.document.blocks import Bullets, Code, Figure, Section, Table, Text
from eavdash.report.document.contents import Contents
from eavdash.report.document.explained import Explained
from eavdash.report.figures import comparisons, inference
from eavdash.report.figures.answer import answer, interval
from eavdash.report.figures.results import score_table
from eavdash.results import left_out, marks
from eavdash.results.subjects import standings
from eavdash.text import plural

SHOWN = 200  # rows of a table in the page; a link gives all


def summary(found: Contents) -> Section:
    """The answer, the caveats, and what is missing."""
    section = Section("summary", "Summary")
    if found.caveats.simulated:
        warning = "Simulated recordings: no person was recorded, and these numbers allow no conclusion about people."
        section.blocks.append(Text(warning, "warning"))
    for mark in marks.study_marks(found.document, found.study):
        section.blocks.append(Text(mark.sentence, "warning"))
    if found.own.empty:
        section.blocks.append(Text("No run of this study has finished: there are no results to report.", "failed"))
    else:
        section.blocks.append(Text(answer(standings(found.own), found.question)))
    if found.caveats.unfinished:
        section.blocks.append(Text(found.caveats.unfinished, "warning"))
    planned = [stage for stage in found.config.stages if stage not in found.stages]
    if planned and not found.own.empty:
        named = ", ".join(map(theme.label, planned))
        section.blocks.append(Text(f"Planned, but without any finished run and not reported: {named}.", "warning"))
    section.blocks += [Text(problem, "failed") for problem in found.problems]
    return section


def data_health(found: Contents) -> Section:
    """Findings of the check of the dataset, and the trials that the study leaves out."""
    section = Section("health", "Data health")
    gone = left_out.sentences(found.document.left_out)
    if gone:
        section.blocks.append(Bullets(gone))
    elif found.document.left_out is None:
        section.blocks.append(Text("The recordings were not checked when this study was planned."))
    else:
        section.blocks.append(Text("No trial and no subject is left out."))
    rows = [
        {
            "subject": r.subject,
            "trial": r.trial,
            "modality": r.modality,
            "kind": r.kind,
            "reason": r.reason,
            "used without it": "yes" if r.kept else "no",
        }
        for r in (found.document.left_out.recordings if found.document.left_out else ())
    ]
    if rows:
        section.blocks.append(_table(found, "Recordings that cannot be used", pd.DataFrame(rows)))
    while_reading = [said for run in found.runs if (said := left_out.found_sentence(run))]
    section.blocks += [Bullets(list(dict.fromkeys(while_reading)))] if while_reading else []
    if (health := found.health) is None:
        section.blocks.append(Text("No health report of this dataset is stored here (eavdash check makes one)."))
        return section
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(health.made))
    counts = Counter(f.severity for f in health.report.findings)
    told = ", ".join(plural(n, severity) for severity, n in counts.items()) or "no findings"
    section.blocks.append(Text(f"The newest check of the dataset, of {made}: {told}."))
    if health.report.findings:
        frame = pd.DataFrame([vars(finding) for finding in health.report.findings]).drop(columns="file")
        section.blocks.append(_table(found, "Findings", frame))
    if len(health.report.table):
        section.blocks.append(_table(found, "Recordings per subject", health.report.table))
    return section


def protocol(found: Contents) -> Section:
    """The way in which trials became training, validation and test, and the gates that were passed."""
    section = Section("protocol", "Protocol and splits")
    splits = found.splits
    splits = splits[splits["fold"].isin(found.document.selection.folds)]
    counted = splits.groupby(["fold", "split"]).agg(subjects=("subject", "nunique"), trials=("trial", "size"))
    groups = splits.drop_duplicates(["fold", "split", "subject", "group"]).groupby(["fold", "split"]).size()
    counts = counted.assign(groups=groups).reset_index()
    shared = marks.shared_groups(found.study)
    selection = found.document.selection
    section.blocks.append(
        Text(
            f"Protocol {found.caveats.protocol}; folds {_listed(selection.folds)}, seeds {_listed(selection.seeds)}, "
            f"{plural(len(selection.subjects), 'subject')}."
        )
    )
    section.blocks.append(
        Text(shared, "warning")
        if shared
        else Text("Gate passed: no test trial shares a group with a training trial of the same subject and fold.")
    )
    if found.config.protocol.name in ACROSS:
        section.blocks.append(Text("People in the test part were in no training part of the same fold."))
    section.blocks.append(_table(found, "Trials per fold and part", counts))
    return section


def methods_section(found: Contents) -> Section:
    """The methods as one paragraph, made of the configuration."""
    return Section("methods", "Methods", [Text(" ".join(methods.paragraph(found)))])


def accuracy(found: Contents, figures: Sequence[Figure]) -> Section:
    """Scores per subject and stage."""
    section = Section("accuracy", "Accuracy")
    if found.own.empty:
        section.blocks.append(Text("No stage has test results."))
        return section
    means = pd.DataFrame(
        [
            {"stage": theme.label(s.stage), "mean": theme.percent(s.mean, 1), "interval": interval(s), "n": s.n}
            for s in standings(found.scores)
        ]
    )
    section.blocks.append(_table(found, "Mean accuracy per trial", means))
    section.blocks += figures
    gone = left_out.with_counts(found.scores, found.document.left_out)
    section.blocks.append(
        Table("Accuracy per subject", score_table(found.own), found.caveats.beside(gone), found.caveats.footnote)
    )
    if found.remarks:
        section.blocks.append(Bullets(found.remarks))
    return section


def statistics(found: Contents, figures: Sequence[Figure]) -> Section:
    """The declared question and the secondary comparisons."""
    section = Section("statistics", "Statistics")
    question = found.question
    if question.primary is None and not question.why_not:
        section.blocks.append(Text("A comparison needs finished runs of fusion and of at least one single modality."))
    elif question.why_not:
        section.blocks.append(Text(question.why_not, "warning"))
    else:
        section.blocks.append(Text(comparisons.verdict(question)))
    if notes := comparisons.question_notes(question, found.config.protocol.name in ACROSS):
        section.blocks.append(Bullets([*notes, *filter(None, [found.across])]))
    if question.primary is not None:
        section.blocks.append(_table(found, "Declared question", comparisons.primary_table(question)))
        if found.inferred is not None:
            table = _table(found, "In numbers", inference.facts(question, found.inferred))
            section.blocks += [table, Text(inference.printed(question, found.inferred)), Text(inference.HOW)]
        chance, guess = 1 / max(1, len(found.document.classes)), found.majority.values()
        beside = inference.references(chance, sum(guess) / len(guess) if guess else math.nan, found.time_only)
        section.blocks.append(_table(found, "Beside it", beside))
    section.blocks += figures
    if question.secondary:
        frame = comparisons.comparison_table(question.secondary)
        note = comparisons.method_note("this table")
        exported = found.caveats.beside(pd.DataFrame([vars(c) for c in question.secondary]))
        section.blocks.append(Table("Secondary comparisons (Holm)", frame, exported, note))
    return section


def attention(figures: Sequence[Figure]) -> Section:
    """From which modality the fusion decides."""
    if not figures:
        return Section(
            "attention", "Attention", [Text("There are no shares of modalities: no fusion with any is done.")]
        )
    return Section("attention", "Attention", [Text(theme.SHARES), *figures])


def explanations(found: Contents, every: Sequence[Explained]) -> Section:
    """The explained trials with their verdicts; pictures are added by the caller."""
    section = Section("explained", "Explained trials")
    if not every:
        section.blocks.append(Text("No trial of this study has been explained (eavdash explain)."))
        return section
    rows = [
        {
            "subject": e.document.subject,
            "trial": e.document.trial,
            "run": e.run.name,
            "label": e.document.label,
            "predicted": e.document.predicted,
            "explained class": e.document.target or e.document.receipts.target,
            "method": e.document.method,
            "baseline": e.document.baseline,
            "verdict": e.verdict,
            "failed checks": e.failed.partition(": ")[2],
            "seconds": round(e.document.receipts.seconds, 1),
        }
        for e in every
    ]
    failed = sum(e.verdict == "fail" for e in every)
    said = f"{plural(len(every), 'stored explanation')}; {failed} failed a check and must not be believed."
    section.blocks.append(Text(said, "failed" if failed else ""))
    section.blocks.append(_table(found, "Explanations and their receipts", pd.DataFrame(rows)))
    return section


def environment(found: Contents) -> Section:
    """Versions, commits and hashes."""
    document = found.document
    rows = [
        ("report made by", f"eavdash {__version__}, Python {platform.python_version()}"),
        ("study planned", document.created),
        ("commit", document.git_commit or "unknown"),
    ]
    rows += [(name, version) for name, version in document.versions.items()]
    rows += [("dataset", document.dataset.path)]
    rows += [(f"recordings of subject {s}", digest) for s, digest in document.dataset.fingerprint.items()]
    executors = Counter(zip(found.states["executor"], found.states["host"], strict=True))
    rows += [
        ("computed on", f"{host or 'unknown'}, {executor}: {plural(n, 'run')}")
        for (executor, host), n in executors.items()
        if host or executor
    ]
    frame = pd.DataFrame(rows, columns=["what", "value"])
    hashes = pd.DataFrame(
        [
            {"run": run.run, "file": name, "sha256": digest}
            for run in found.runs
            for name, digest in found.study.run(run.run).status().checksums.items()
        ]
    )
    section = Section("environment", "Environment", [_table(found, "Versions and data", frame)])
    if len(hashes):
        section.blocks.append(_table(found, "Checksums of the result files", hashes))
    return section


def commands(found: Contents, every: Sequence[Explained]) -> Section:
    """The commands that make the study again and read its results."""
    named = list(dict.fromkeys((e.document.subject, e.document.trial) for e in every))[:12]
    said = "These plan the same study under another name, verify the files of this one, and print its tables."
    return Section("commands", "Commands", [Text(said), Code(methods.commands(found, named))])


def _table(found: Contents, title: str, frame: pd.DataFrame) -> Table:
    """Return a table, of which the page shows the first rows and the link gives all."""
    note = f"The first {SHOWN} of {plural(len(frame), 'row')}; the CSV file has all." if len(frame) > SHOWN else ""
    return Table(title, frame.head(SHOWN), found.caveats.beside(frame), note)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
