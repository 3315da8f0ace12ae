"""What is wrong with single recordings: their measures against thresholds, and whatever kept them from being read.

In: the measures of every recording (:func:`eavdash.health.scan.measured`). Out: findings, one per subject,
modality and kind, with a count and the first examples: 200 noisy trials are one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.config.schema import StudyConfig
from eavdash.data.table import natural_order
from eavdash.health.report import Finding, records

#: How many examples a finding names, and how many broken files of a kind are still named one by one.
EXAMPLES = 3

#: A thousandth of a sound's samples on a plateau at full scale are 20 ms of 20 s: heard as crackling.
CLIPPED = 0.001
#: Pauses are silent too, where software has gated them: half of a recording is more than pauses.
SILENT = 0.5
#: dB below full scale. A calm voice in a quiet room reaches -53 in RAVDESS; below -60 16 bits resolve 10 steps.
QUIET = -60.0
#: µV, standard deviation. Scalp EEG has some 5 to 50, with drifts some hundreds; beyond these it is another unit.
AMPLITUDE = (0.5, 10_000.0)
#: Power of the mains over its neighbourhood in the middle channel: ten times as much is seen in the traces.
LINE_NOISE = 10.0
#: Hz between the band's upper edge and the mains that a filter needs to keep it out.
LINE_MARGIN = 2.0
#: Share of the pictures looked at that are black, and of the time that a video stands still: fades and pauses are
#: shorter.
BLACK = 0.5
FROZEN = 0.5
#: Seconds without a new picture, and how often the usual time between pictures that must be.
GAP, GAP_TIMES = 1.0, 3.0
#: Seconds by which sound and picture of one file may begin apart: so much of a trial has no sound, or its sound is cut.
SOUND_OFFSET = 0.5
#: Share of the pictures looked at in which a face should be found.
FACES = 0.5
#: A whole recording shorter than this share of the subject's usual one has been cut short.
SHORT = 0.5


@dataclass(frozen=True)
class Rule:
    """One kind of finding about ``modalities``: the rows for which ``holds``, in the words of ``says``."""

    modalities: tuple[str, ...]
    what: str
    severity: str
    remedy: str
    applies: Callable[[pd.DataFrame], pd.Series]
    describe: Callable[[dict[str, Any]], str]


def rules(config: StudyConfig) -> list[Rule]:
    """The rules, as far as they depend on how a study would read the recordings."""
    sound, video, eeg = ("audio",), ("vision",), ("eeg",)
    wanted = config.audio.rate
    return [
        Rule(
            sound,
            "digital silence",
            "warning",
            "check that the microphone was recorded",
            _silent,
            _share("silent", "of it"),
        ),
        Rule(
            sound,
            "very quiet sound",
            "warning",
            "check the microphone's level; a louder copy exists perhaps",
            lambda f: (f["rms"] < QUIET) & ~_silent(f),
            lambda r: f"{r['rms']:.0f} dB below full scale".replace("-", ""),
        ),
        Rule(
            sound,
            "clipped sound",
            "warning",
            "lower the microphone's level for further recordings; leave badly clipped trials out",
            lambda f: (f["clipped"] >= CLIPPED) & ~_silent(f),
            _share("clipped", "of its samples"),
        ),
        Rule(
            sound,
            f"sound sampled below {wanted} Hz",
            "info",
            f"audio.rate is {wanted}: what lies above half of the recorded rate stays empty",
            lambda f: f["rate"] < wanted,
            lambda r: f"{r['rate']:g} Hz",
        ),
        Rule(
            eeg,
            "no signal in any EEG channel",
            "warning",
            "check the amplifier's file, or leave the trial out",
            lambda f: (f["flat"] > 0) & (f["flat"] == f["channels"]),
            lambda r: f"all {r['channels']:.0f} are flat",
        ),
        Rule(
            eeg,
            "flat EEG channels",
            "warning",
            "set eeg.bad_channels=interpolate, or leave them out by eeg.channels",
            lambda f: (f["flat"] > 0) & (f["flat"] < f["channels"]),
            lambda r: r["flat_channels"],
        ),
        Rule(
            eeg,
            "saturated EEG channels",
            "warning",
            "set eeg.bad_channels=interpolate or eeg.reject, or leave the trials out",
            lambda f: f["saturated"] > 0,
            lambda r: r["saturated_channels"],
        ),
        Rule(
            eeg,
            "EEG of an amplitude that no scalp has",
            "warning",
            "check the unit in which the file states its samples",
            lambda f: f["amplitude"].notna() & (f["flat"] < f["channels"]) & ~f["amplitude"].between(*AMPLITUDE),
            lambda r: f"{r['amplitude']:.3g} µV",
        ),
        *(_line_noise(config, mains) for mains in (50.0, 60.0)),
        Rule(
            video,
            "black video",
            "warning",
            "check the camera's file",
            _black,
            _share("black", "of the pictures looked at"),
        ),
        Rule(
            video,
            "frozen video",
            "warning",
            "check the camera's file; a still picture says nothing about a face in motion",
            lambda f: (f["frozen"] >= FROZEN) & ~_black(f),
            _share("frozen", "of it without any motion"),
        ),
        Rule(
            video,
            "a gap in the video",
            "warning",
            "frames in the gap repeat the last picture; copy or export the file again",
            lambda f: (f["longest_gap"] >= GAP) & (f["longest_gap"] * f["rate"] > GAP_TIMES),
            lambda r: f"{r['longest_gap']:.1f} s without a picture",
        ),
        Rule(
            video,
            "variable frame rate",
            "info",
            "nothing: frames are taken by their time",
            lambda f: f["variable_rate"] > 0,
            lambda r: f"{r['rate']:.1f} frames per second on average",
        ),
        Rule(
            video,
            "rotated video",
            "info",
            "nothing: frames are turned upright",
            lambda f: f["rotation"].fillna(0) != 0,
            lambda r: f"by {r['rotation']:.0f} degrees",
        ),
        Rule(
            video,
            "sound and picture that do not begin together",
            "info",
            "nothing: sound is read in step with the pictures, with silence where there is none",
            lambda f: f["sound_offset"].abs() > SOUND_OFFSET,
            lambda r: f"the sound {abs(r['sound_offset']):.2f} s {'later' if r['sound_offset'] > 0 else 'earlier'}",
        ),
        *(
            [
                Rule(
                    video,
                    "no face found",
                    "warning",
                    "look at the contact sheet; the crop falls back to the last face, then to the centre",
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
            "find out whether they were cut short, and leave them out if so",
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
                said = examples([f"trial {r['trial']}: {rule.describe(r)}" for r in records(rows)])
                message = f"{rule.what} in {len(rows)} of {trials} trials ({said})"
                findings.append(
                    Finding(rule.severity, str(subject), modality, rows.iloc[0]["file"], message, rule.remedy)
                )
    return findings


def unreadable(recordings: pd.DataFrame) -> list[Finding]:
    """What cannot be read: one by one, or in one line where a subject has many that fail alike.

    A file that cannot be opened is named once, however many trials it holds.
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
            count = f"{len(items)} recordings ({sum(n for _, _, n in items)} trials) that cannot be used"
            findings.append(
                Finding("error", subject, modality, items[0][0], f"{count}: {message}; also {names}", remedy)
            )
    return findings


def examples(texts: Sequence[str]) -> str:
    """The first few of many texts, and how many more there are."""
    more = [f"{len(texts) - EXAMPLES} more"] if len(texts) > EXAMPLES else []
    return "; ".join([*texts[:EXAMPLES], *more])


def split_remedy(text: str) -> tuple[str, str]:
    """An error's sentence as what is wrong and what to do, which stands behind its last semicolon."""
    message, semicolon, remedy = text.rpartition("; ")
    return (message, remedy.rstrip(".")) if semicolon else (text, "")


def from_errors(severity: str, errors: Iterable[tuple[str, str]]) -> list[Finding]:
    """Findings from (subject, sentence); "" for the whole dataset."""
    return [Finding(severity, subject, "", "", *split_remedy(text)) for subject, text in errors]


def _silent(frame: pd.DataFrame) -> pd.Series:
    return frame["silent"] >= SILENT


def _black(frame: pd.DataFrame) -> pd.Series:
    return frame["black"] >= BLACK


def _short(frame: pd.DataFrame) -> pd.Series:
    """Whole files and whole trials of arrays only: stretches are as long as their table wants them."""
    whole = frame["stop"].isna() & (frame["start"] == 0) & frame["duration"].notna()
    usual = frame["duration"].where(whole).groupby(frame["subject"]).transform("median")
    return whole & (frame["duration"] < SHORT * usual)


def _share(column: str, of: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: f"{100 * row[column]:.{0 if row[column] >= 0.1 else 1}f} % {of}"


def _line_noise(config: StudyConfig, mains: float) -> Rule:
    kept_out = config.eeg.high <= mains - LINE_MARGIN or config.eeg.notch == mains
    return Rule(
        ("eeg",),
        f"line noise at {mains:.0f} Hz",
        "info" if kept_out else "warning",
        f"nothing: the band to {config.eeg.high:g} Hz and eeg.notch={config.eeg.notch:g} keep it out"
        if kept_out
        else f"set eeg.notch={mains:.0f}, or eeg.high to {mains - LINE_MARGIN:.0f} at most",
        lambda f: (f["line_noise"] >= LINE_NOISE) & (f["line_frequency"] == mains),
        lambda r: f"{r['line_noise']:.3g} times the power beside it",
    )
