"""Findings about single recordings: measures beyond thresholds, and unreadable recordings.

In: the measures of every recording (:func:`eavdash.health.scan.measure_table`). Out: findings, one per subject,
modality and kind, with a count and the first examples: 200 noisy trials are one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.config.schema import StudyConfig
from eavdash.health.eeg_rules import eeg_rules
from eavdash.health.report import Finding, records
from eavdash.health.rule import Rule, share
from eavdash.health.sound_rules import sound_rules
from eavdash.text import natural_order

#: Number of examples in a finding, and the maximum number of broken files of a kind that are listed one by one.
EXAMPLES = 3

#: Share of black pictures among those checked, and of the time without motion: fades and pauses are shorter.
BLACK = 0.5
FROZEN = 0.5
#: Seconds without a new picture, and the multiple of the usual interval between pictures.
GAP, GAP_TIMES = 1.0, 3.0
#: Seconds between the beginnings of sound and picture of one file, by which a trial's sound is padded or cut.
SOUND_OFFSET = 0.5
#: Minimum share of the checked pictures with a face.
FACES = 0.5
#: Minimum share of the rows of a table of features that are recorded: a face was found, and numbers are there.
RECORDED = 0.5
#: A whole recording shorter than this share of the subject's median has probably been truncated.
SHORT = 0.5


def rules(config: StudyConfig) -> list[Rule]:
    """The rules for a study with this configuration."""
    video = ("vision",)
    return [
        *sound_rules(config),
        *eeg_rules(config),
        Rule(video, "black video", "warning", "check the camera", _black, share("black", "of the pictures checked")),
        Rule(
            video,
            "frozen video",
            "warning",
            "check the camera's file, as a frozen picture does not show expressions",
            lambda f: (f["frozen"] >= FROZEN) & ~_black(f),
            share("frozen", "of it without motion"),
        ),
        Rule(
            video,
            "a gap in the video",
            "warning",
            "copy or export the file again, as frames in the gap repeat the last picture",
            lambda f: (f["longest_gap"] >= GAP) & (f["longest_gap"] * f["rate"] > GAP_TIMES),
            lambda r: f"{r['longest_gap']:.1f} s without a picture",
        ),
        Rule(
            video,
            "variable frame rate",
            "info",
            "nothing, as frames are read by their time",
            lambda f: f["variable_rate"] > 0,
            lambda r: f"{r['rate']:.1f} frames per second on average",
        ),
        Rule(
            video,
            "rotated video",
            "info",
            "nothing, as frames are rotated upright",
            lambda f: (f["rotation"].fillna(0) != 0) | (f["mirrored"] > 0),
            lambda r: f"by {r['rotation']:.0f} degrees{', mirrored' if r['mirrored'] > 0 else ''}",
        ),
        Rule(
            video,
            "sound and picture that do not begin together",
            "info",
            "nothing, as sound is read in sync with the pictures and padded with silence",
            lambda f: f["sound_offset"].abs() > SOUND_OFFSET,
            lambda r: f"the sound {abs(r['sound_offset']):.2f} s {'later' if r['sound_offset'] > 0 else 'earlier'}",
        ),
        Rule(
            ("vision", "audio"),
            "few recorded rows",
            "warning",
            "check the recording from which the features were extracted, as the rest of the trial is masked",
            lambda f: f["recorded"] < RECORDED,
            share("recorded", "of its rows"),
        ),
        *(
            [
                Rule(
                    video,
                    "no face found",
                    "warning",
                    "check the contact sheet: the crop falls back to the last face, or to the centre",
                    lambda f: (f["faces_looked"] > 0) & (f["faces_found"] < FACES * f["faces_looked"]) & ~_black(f),
                    lambda r: f"in {r['faces_looked'] - r['faces_found']:.0f} of {r['faces_looked']:.0f} pictures",
                )
            ]
            if config.vision.crop == "face"
            else []
        ),
        Rule(
            MODALITIES,
            "recordings much shorter than the subject's others",
            "warning",
            "check whether they were truncated, and leave them out if so",
            _short,
            lambda r: f"{r['duration']:.1f} s",
        ),
    ]


def findings_of(recordings: pd.DataFrame, config: StudyConfig) -> list[Finding]:
    """The findings of all rules, by subject and modality in natural order."""
    findings = []
    for modality in MODALITIES:
        of = recordings[recordings["modality"] == modality]
        for rule in rules(config) if len(of) else ():
            if modality not in rule.modalities:
                continue
            for subject, rows in of[rule.applies(of).astype(bool)].groupby("subject", sort=False):
                trials = int((of["subject"] == subject).sum())
                texts = examples([f"trial {r['trial']}: {rule.describe(r)}" for r in records(rows)])
                message = f"{rule.what} in {len(rows)} of {trials} trials ({texts})"
                findings.append(
                    Finding(rule.severity, str(subject), modality, rows.iloc[0]["file"], message, rule.remedy)
                )
    return findings


def unreadable(recordings: pd.DataFrame) -> list[Finding]:
    """Unreadable recordings: one by one, or in one line if a subject has many with the same kind of problem.

    A file that cannot be opened is reported once, however many trials it contains.
    """
    broken = recordings[recordings["problem"] != ""]
    findings = []
    for modality in MODALITIES:
        of = broken[broken["modality"] == modality]
        alike: dict[tuple[str, str], list[tuple[str, str, int]]] = {}  # subjects and kind → file, sentence, trials
        named = of["path"].where(of["whole"], of.index.map(str))
        for _, rows in of.groupby(named, sort=False):
            first = rows.iloc[0]
            file = str(first["path"] if first["whole"] else first["file"])
            key = (", ".join(natural_order(rows["subject"])), str(first["kind"]))
            alike.setdefault(key, []).append((file, str(first["problem"]), len(rows)))
        for (subject, _), items in alike.items():
            if len(items) <= EXAMPLES:
                findings += [Finding("error", subject, modality, f, *split_remedy(text)) for f, text, _ in items]
                continue
            message, remedy = split_remedy(items[0][1])
            names = examples([Path(file).name for file, _, _ in items[1:]])
            count = f"{len(items)} unusable recordings ({sum(n for _, _, n in items)} trials)"
            findings.append(
                Finding("error", subject, modality, items[0][0], f"{count}: {message}; also {names}", remedy)
            )
    return findings


def examples(texts: Sequence[str]) -> str:
    """The first few of many texts, and the number of further ones."""
    more = [f"{len(texts) - EXAMPLES} more"] if len(texts) > EXAMPLES else []
    return "; ".join([*texts[:EXAMPLES], *more])


def split_remedy(text: str) -> tuple[str, str]:
    """Split an error's sentence into message and remedy, which follows the last semicolon."""
    message, semicolon, remedy = text.rpartition("; ")
    return (message, remedy.rstrip(".")) if semicolon else (text, "")


def from_errors(severity: str, errors: Iterable[tuple[str, str]]) -> list[Finding]:
    """Findings from (subject, sentence); "" for the whole dataset."""
    return [Finding(severity, subject, "", "", *split_remedy(text)) for subject, text in errors]


def _black(frame: pd.DataFrame) -> pd.Series:
    return frame["black"] >= BLACK


def _short(frame: pd.DataFrame) -> pd.Series:
    """True for short whole files and whole array items; the length of segments is set by the table."""
    whole = frame["stop"].isna() & (frame["start"] == 0) & frame["duration"].notna()
    usual = frame["duration"].where(whole).groupby(frame["subject"]).transform("median")
    return whole & (frame["duration"] < SHORT * usual)
