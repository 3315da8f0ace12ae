"""The health report of a dataset: its content, its faults, and remedies.

In: a dataset folder or a trial table. Out: a :class:`HealthReport`. Delegated to scan.py: measuring every file once; to
rules.py and pairing.py: the findings; to protocols.py: the preview of the splits. Nothing is raised: every fault
becomes a finding, whether of one file, of a dataset that cannot be opened, or of this program.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from eavdash.config.schema import StudyConfig
from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.data.named_files import NAMED_RECORDING
from eavdash.data.spelling import doubts
from eavdash.data.table import TrialTable, expected_recordings, open_table, spelled
from eavdash.errors import EavdashError, sentence
from eavdash.health import eeg_headers, feature_tables, pairing, rules, tables
from eavdash.health.look import broken, measured, with_tracks
from eavdash.health.protocols import split_preview
from eavdash.health.report import NUMBERS, SEVERITIES, TEXTS, Finding, HealthReport, no_split_preview
from eavdash.health.scan import Scan, measure_requests, scan
from eavdash.text import natural_order, printable

_COLUMNS = [*TEXTS[:5], *NUMBERS, *TEXTS[5:]]
_T = TypeVar("_T")


def check_dataset(
    path: str | Path,
    report: Callable[[int, int], None] | None = None,
    config: StudyConfig | None = None,
    cache: Path | None = None,
    faces: bool = True,
) -> HealthReport:
    """Make the health report of a dataset.

    ``report(done, of)`` is called as files are measured; ``config`` determines how a study would read and split them
    (default: quick); ``cache`` is the folder in which measures are remembered (None: nowhere); ``faces`` includes a
    search for faces in videos. An exception from ``report`` ends the check, as KeyboardInterrupt does; the next check
    resumes where it stopped.
    """
    try:
        return _build_report(open_table(path), path, report, config or StudyConfig(), cache, faces)
    except _ReportCallbackError as error:
        raise error.__cause__ or error from None
    except EavdashError as error:
        return _only_findings(path, rules.from_errors("error", [("", str(error))]))
    except Exception as error:  # damaged file systems may raise anything
        return _only_findings(path, [_unexpected(f"reading {path}", error)])


def _build_report(
    table: TrialTable,
    path: str | Path,
    report: Callable[[int, int], None] | None,
    config: StudyConfig,
    cache: Path | None,
    faces: bool,
) -> HealthReport:
    findings = FindingCollector()
    unclear = doubts(table.frame, config.names)
    table = with_tracks(spelled(table, config.names), config)
    faces, notes = _faces(table, config, faces)
    requests = measure_requests(table.frame, faces, config)
    done = findings.guarded("scanning", lambda: scan(requests, cache, _wrap_report(report)), Scan())
    rows = findings.guarded("collecting measures", lambda: measured(table.frame, requests, done), None)
    if rows is None:
        rows = measured(table.frame.iloc[:0], [], Scan())
    intact = rows["problem"] == ""
    wanted = expected_recordings(table)
    usable = tables.usable(table.frame, rows[intact])
    labels = tables.labels(table)
    findings += notes
    findings.add("layout", lambda: _layout(table))
    findings.add("unreadable files", lambda: rules.unreadable(rows))
    findings.add("missing recordings", lambda: pairing.missing(table, wanted))
    findings.add("measures", lambda: rules.findings_of(rows[intact], config))
    findings.add("lengths", lambda: pairing.lengths(rows))
    findings.add("overlaps", lambda: pairing.overlaps(rows))
    findings.add("copies", lambda: pairing.copies(rows, _digest(cache)))
    findings.add("channels", lambda: _channels(rows[intact], done))
    findings.add("EEG headers", lambda: eeg_headers.findings(_headers(rows, done), config.eeg))
    findings.add("tables of features", lambda: feature_tables.findings(rows, done, config))
    findings.add("sound tracks", lambda: _tracks(table, rows, config))
    if table.kind == "eav":
        findings.add("file names", lambda: pairing.eav_numbers(rows))
    findings += rules.from_errors("warning", [("", text) for text in unclear])
    findings.add("labels", lambda: tables.balance(labels))
    gone = broken(rows, config)
    outlook = partial(split_preview, table, config, gone, cache)
    preview = findings.guarded("the split preview", outlook, no_split_preview())
    findings += _notes(table.notes)
    if done.problem:
        remedy = "choose another cache folder, as every check now opens all files again"
        text = sentence(cache or "", "a writable cache", done.problem, remedy)
        findings += rules.from_errors("info", [("", text)])
    found = sorted(_merge(_printable(f) for f in findings), key=lambda f: SEVERITIES.index(f.severity))
    return HealthReport(
        path=printable(str(path)),
        kind=table.kind,
        simulated=table.simulated,
        table=tables.summary(table, wanted, usable, found),
        labels=labels.rename_axis(columns=None).reset_index(),
        findings=tuple(found),
        recordings=rows[_COLUMNS].assign(**{c: rows[c].map(printable) for c in TEXTS}),
        split_preview=preview,
        scanned=done.scanned,
        reused=done.reused,
    )


class _ReportCallbackError(BaseException):
    """Carries an exception from ``report`` past all handlers of Exception."""


def _wrap_report(report: Callable[[int, int], None] | None) -> Callable[[int, int], None] | None:
    def wrapped(done: int, of: int) -> None:
        try:
            if report:
                report(done, of)
        except Exception as error:
            raise _ReportCallbackError from error

    return wrapped if report else None


class FindingCollector(list[Finding]):
    """A list of findings; an unexpected failure of one part of the check becomes a finding and stops no other part."""

    def guarded(self, what: str, make: Callable[[], _T], default: _T) -> _T:
        """Return ``make()`` or, after an exception, ``default`` with a finding."""
        try:
            return make()
        except Exception as error:
            self.append(_unexpected(what, error))
            return default

    def add(self, what: str, make: Callable[[], list[Finding]]) -> None:
        """Add all findings of one part."""
        self += self.guarded(what, make, [])


def _unexpected(what: str, error: Exception) -> Finding:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return Finding("error", "", "", "", f"{what} failed: {text}", "report this error with the dataset's layout")


def _merge(findings: Iterable[Finding]) -> list[Finding]:
    """Merge equal findings of several subjects into one."""
    alike: dict[Finding, list[str]] = {}
    for finding in findings:
        alike.setdefault(replace(finding, subject=""), []).append(finding.subject)
    return [replace(finding, subject=", ".join(natural_order(s for s in of if s))) for finding, of in alike.items()]


def _only_findings(path: str | Path, findings: list[Finding]) -> HealthReport:
    return HealthReport(printable(str(path)), findings=tuple(_printable(f) for f in findings))


def _printable(finding: Finding) -> Finding:
    return replace(finding, file=printable(finding.file), message=printable(finding.message))


def _faces(table: TrialTable, config: StudyConfig, faces: bool) -> tuple[bool, list[Finding]]:
    """True to search for faces; findings with the reason if that is requested but impossible."""
    from eavdash.data.video.faces import detector_name

    videos = table.frame["video"].map(lambda entry: bool(entry) and not is_feature_table(entry))
    if not faces or config.vision.crop != "face" or not videos.any():
        return False, []
    try:
        detector_name()
    except EavdashError as error:
        return False, rules.from_errors("info", [("", str(error))])
    return True, []


def _layout(table: TrialTable) -> list[Finding]:
    """All errors of EAV's folders, rather than the first of each subject; else each subject's problem unless it
    concerns a missing file (those are reported one by one).
    """
    if table.kind == "eav" and table.problems:
        from eavdash.data.adapters import eav

        return rules.from_errors("error", [(s.subject, str(e)) for s in eav.scan(table.root) for e in s.errors])
    return rules.from_errors("error", [(s, text) for s, text in table.problems.items() if NAMED_RECORDING not in text])


def _digest(cache: Path | None) -> Callable[[str], str]:
    """A function that hashes the content of a file; one that is unreadable or incomplete is equal to no other."""
    from eavdash.data.cache.digests import digest
    from eavdash.data.formats.companions import missing_companion

    def of(path: str) -> str:
        try:
            return path if missing_companion(path) else digest(path, cache)
        except EavdashError:
            return path

    return of


def _channels(rows: pd.DataFrame, done: Scan) -> list[Finding]:
    eeg = rows[rows["modality"] == "eeg"]
    subjects = dict(zip(eeg["path"], eeg["subject"], strict=True))
    answers = {path: done.answers.get(("eeg", path), {}).get("names", []) for path in subjects}
    return pairing.channels({p: (subjects[p], names) for p, names in answers.items() if names}, eeg["rate"])


def _headers(rows: pd.DataFrame, done: Scan) -> Iterable[eeg_headers.Header]:
    """Yield what is known of each EEG file whose header could be read."""
    eeg = rows[rows["modality"] == "eeg"].drop_duplicates("path")
    for path, subject in zip(eeg["path"], eeg["subject"], strict=True):
        answer = done.answers.get(("eeg", path), {})
        if names := answer.get("names", []):
            yield eeg_headers.Header(subject, path, len(names), answer["system"], answer["remarks"])


def _tracks(table: TrialTable, rows: pd.DataFrame, config: StudyConfig) -> list[Finding]:
    """Videos without a sound track among others with one, and sound tracks that are not used."""
    tracks = rows[(rows["modality"] == "vision") & rows["sound_track"].notna()]
    with_sound = int((tracks["sound_track"] > 0).sum())
    findings = []
    for subject, of in tracks.groupby("subject", sort=False) if with_sound else ():
        silent = of[of["sound_track"] == 0]
        if len(silent):
            examples = rules.examples([f"trial {t}" for t in silent["trial"]])
            message = f"no sound track in the videos of {len(silent)} of {len(of)} trials ({examples})"
            remedy = "nothing, unless audio.from_video is set: then copy or export the files again"
            findings.append(Finding("info", str(subject), "vision", silent.iloc[0]["file"], message, remedy))
    if with_sound and not config.audio.from_video and not (table.frame["audio"] != "").any():
        message = f"no sound files, but {with_sound} of {len(tracks)} videos have a sound track"
        findings.append(Finding("info", "", "audio", "", message, "set audio.from_video=true to use it"))
    return findings


def _notes(notes: tuple[str, ...]) -> list[Finding]:
    """The table's notes; equal notes about many files become one finding."""
    alike: dict[str, list[str]] = {}
    for note in notes:
        _, colon, what = note.partition(": ")
        alike.setdefault(re.sub(r"\d+", "#", what) if colon else note, []).append(note)
    findings = []
    for what, same in alike.items():
        if len(same) <= rules.EXAMPLES:
            findings += rules.from_errors("info", [("", note) for note in same])
        else:
            names = rules.examples([note.partition(": ")[0] for note in same])
            text, remedy = rules.split_remedy(same[0].partition(": ")[2] or what)
            findings.append(Finding("info", "", "", "", f"{len(same)} times: {text} ({names})", remedy))
    return findings
