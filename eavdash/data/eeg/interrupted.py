"""Interrupted EDF and BDF files (EDF+D): where in the file the samples of a time are.

In: the path of a file, and start and stop in seconds after its first record. Out: its continuous :class:`Stretch`\\ es,
and the samples of a time. The records of such a file state their own onsets; MNE reads them as if they followed each
other (format: https://www.edfplus.info/specs/edfplus.html).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eavdash.data.recording import END_TOLERANCE, per_file, sample_range, seconds
from eavdash.errors import RecordingError
from eavdash.store.readable import open_readable

_ANNOTATIONS = (b"EDF Annotations", b"BDF Annotations")
_ONSET = re.compile(rb"([+-][0-9]+(?:\.[0-9]*)?)(?:\x15[0-9.]*)?\x14")
_BAD = re.compile(rb"([+-][0-9]+(?:\.[0-9]*)?)(?:\x15([0-9.]*))?\x14([^\x00]*?)\x14\x00")
_MOST = 10_000_000  # records


@dataclass(frozen=True)
class Stretch:
    """Samples without a gap: ``start`` and ``stop`` in seconds, and the share of the file's samples before it."""

    start: float
    stop: float
    before: float


@dataclass(frozen=True)
class Timeline:
    """The stretches of an interrupted file, in order, and start and stop of its BAD annotations (seconds)."""

    stretches: tuple[Stretch, ...]
    bad: tuple[tuple[float, float], ...] = ()

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Start and stop (seconds) of each time without samples."""
        pairs = zip(self.stretches, self.stretches[1:], strict=False)
        return tuple((one.stop, other.start) for one, other in pairs)


@per_file(64)
def timeline(path: str) -> Timeline | None:
    """Read when each record of a file begins; None if it is not interrupted (or no such format).

    Raises:
        RecordingError: records state no time, or do not follow each other.
    """
    if Path(path).suffix.lower() not in (".edf", ".bdf"):
        return None
    with contextlib.suppress(ValueError, OSError, IndexError):  # not a valid header: MNE reports the error
        return _timeline(path)
    return None


def _timeline(path: str) -> Timeline | None:
    with open_readable(path) as file:
        head = file.read(256)
        if head[192:197] not in (b"EDF+D", b"BDF+D"):
            return None
        begin, records, length, count = int(head[184:192]), int(head[236:244]), float(head[244:252]), int(head[252:256])
        names = [file.read(16).strip() for _ in range(count)]
        file.seek(256 + count * 216)
        samples = [int(file.read(8)) for _ in range(count)]
        width = 3 if head[192:193] == b"B" else 2
        size = sum(samples) * width
        column = next(n for n in range(count) if names[n] in _ANNOTATIONS)
        if not (0 < records <= _MOST and length > 0 and size):
            return None
        texts = []
        for record in range(records):
            file.seek(begin + record * size + sum(samples[:column]) * width)
            texts.append(file.read(samples[column] * width))
    matches = [_ONSET.match(text) for text in texts]
    onsets = [float(match[1]) for match in matches if match]
    if len(onsets) != records:
        raise RecordingError.at(
            path,
            expected="the time of each record of an interrupted recording (EDF+D)",
            found=f"{records - len(onsets)} of {records} records without one",
            remedy="export the recording again, or set eeg.gaps=ignore if it has no gaps",
        )
    step = length / max(n for n, name in zip(samples, names, strict=True) if name not in _ANNOTATIONS)
    first, stretches, opened = onsets[0], list[Stretch](), 0
    for record, onset in enumerate(onsets):
        end = onsets[opened] + (record - opened) * length
        if record and onset < end - step:
            raise RecordingError.at(
                path,
                expected="records in the order of their times",
                found=f"record {record + 1} at {onset - first:g} s, after one that ends at {end - first:g} s",
                remedy="export the recording again",
            )
        if record and onset > end + step:
            stretches.append(Stretch(onsets[opened] - first, end - first, opened / records))
            opened = record
    stop = onsets[opened] + (records - opened) * length
    stretches.append(Stretch(onsets[opened] - first, stop - first, opened / records))
    return Timeline(tuple(stretches), _bad_spans(texts, first)) if len(stretches) > 1 else None


def _bad_spans(texts: Sequence[bytes], first: float) -> tuple[tuple[float, float], ...]:
    found = [match for text in texts for match in _BAD.finditer(text) if match[3].lower().startswith(b"bad")]
    return tuple((float(m[1]) - first, float(m[1]) - first + float(m[2] or 0)) for m in found)


def locate(
    path: str, line: Timeline, length: int, rate: float, start: float | None, stop: float | None
) -> tuple[int, int]:
    """First and one-past-last of the file's ``length`` samples at ``rate`` Hz between ``start`` and ``stop`` (seconds).

    Raises:
        RecordingError: a gap is between them, or the recording does not contain them.
    """
    begin, end = seconds(start) or 0.0, seconds(stop)
    end = line.stretches[-1].stop if end is None else end
    for stretch in line.stretches:
        if stretch.start - 0.5 / rate <= begin and end <= stretch.stop + END_TOLERANCE:
            samples = round((stretch.stop - stretch.start) * rate)
            shifted = max(0.0, begin - stretch.start), end - stretch.start
            first, last = sample_range(path, samples, rate, *shifted)
            before = round(stretch.before * length)
            return before + first, before + last
    whole = ", ".join(f"{one.start:g} to {one.stop:g} s" for one in line.stretches[:5])
    more = f" and {len(line.stretches) - 5} more" if len(line.stretches) > 5 else ""
    raise RecordingError.at(
        path,
        expected=f"a segment without a gap (there are samples at {whole}{more})",
        found=f"the segment from {begin:g} s to {end:g} s of an interrupted recording (EDF+D)",
        remedy="correct start and stop in the trial table, or leave the trial out",
    )
