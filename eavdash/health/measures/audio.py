"""Measures of a sound: level, clipping, silence, non-finite samples; what its channels have in common.

In: any file that is read as sound (:mod:`eavdash.data.audio.reading`), and segments of it. Out: numbers; a recording is
measured block by block, at its own rate, so that hours of sound take no more memory than a minute. Level and silence
are those of what the model hears (``audio.channel``), clipping is that of any of the channels in it. Delegated to
``open_sound``: the samples; to data/audio/channels.py: the choice of the channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from eavdash.config.choices import MIX
from eavdash.errors import sentence
from eavdash.health.measures.base import Facts, Part, content_hash

if TYPE_CHECKING:
    from eavdash.data.audio.samples import Sound

#: Amplitude (of 1) from which a sample counts as full scale: 8-bit sound ends at 127/128.
FULL_SCALE = 0.99
#: Consecutive samples at the recording's extreme that form a plateau: an unclipped wave turns sooner.
PLATEAU = 3
#: Samples that differ by less are equal: half a step of 16-bit sound.
SAME = 0.5 / 2**15
#: Seconds without any change that count as digital silence, which no microphone records.
SILENCE = 0.05


def measure(file: str, parts: Sequence[Part], channel: str = MIX) -> tuple[Facts, Callable[[Part], Facts]]:
    """Return facts of the whole file, and a function that measures a part of it as ``audio.channel`` hears it."""
    from eavdash.data.audio.reading import open_sound

    if parts and parts[0].number is not None:
        return {}, lambda part: _part(open_sound(part.entry(file)), part, channel)
    sound = open_sound(file)
    return {"length": sound.length / sound.rate}, lambda part: _part(sound, part, channel)


def _part(sound: Sound, part: Part, channel: str) -> Facts:
    """Measure a segment; for an array item, hash its samples too."""
    first = round((part.start or 0.0) * sound.rate)
    last = min(sound.length, round(part.stop * sound.rate) if part.stop is not None else sound.length)
    if first < last:
        from eavdash.data.audio.channels import chosen_channel

        facts = of_blocks(sound.blocks(first, last), sound.rate, chosen_channel(sound, channel, first, last))
        facts |= _of_channels(sound, first, last) if sound.channels > 1 else {}
    else:
        facts = of_blocks(iter(()), sound.rate)
    if facts.get("not_finite"):
        facts["problem"] = sentence(
            sound.path,
            "finite samples",
            f"{facts['not_finite']} that are not",
            "record or export the file again, or leave the trial out",
        )
        facts["kind"] = "finite samples"
    if part.number is not None:
        facts["content"] = content_hash(np.concatenate(list(sound.blocks(first, last))))
    return facts


def _of_channels(sound: Sound, first: int, last: int) -> Facts:
    """Level of the loudest channel (dB of full scale), and what the two loudest have in common.

    ``second``: dB by which the second one is less loud; ``likeness``: their correlation.
    """
    from eavdash.data.audio.channels import covariance

    shared = covariance(sound.blocks(first, last), sound.channels)
    powers = np.diag(shared)
    one, two = np.argsort(-powers, kind="stable")[:2]
    if not powers[one] > 0:
        return {}
    facts: Facts = {"loudest": float(10 * np.log10(powers[one]))}
    if powers[two] > 0:
        facts["second"] = float(10 * np.log10(powers[one] / powers[two]))
        facts["likeness"] = float(shared[one, two] / np.sqrt(powers[one] * powers[two]))
    return facts


def of_blocks(blocks: Iterator[np.ndarray], rate: int, channel: int | None = None) -> Facts:
    """Measure level, clipping and silence over all blocks of one segment; ``channel``: of one channel (None: of the
    mean of all).
    """
    from eavdash.data.audio.channels import heard

    channels, samples, values, not_finite = 0, 0, 0, 0
    total, squares, peak, silent, pieces = 0.0, 0.0, 0.0, 0, 0
    extremes, clipped = {1: -np.inf, -1: -np.inf}, {1: 0, -1: 0}  # of the wave and of its negative
    for block in _joined(blocks, rate):
        channels = block.shape[1]
        block = block if channel is None else block[:, [channel]]
        samples += len(block)
        bad = ~np.isfinite(block)
        if bad.any():
            not_finite += int(bad.any(axis=1).sum())
            block = np.where(bad, 0, block)
        wave = heard(block, None)
        peak = max(peak, float(np.abs(wave).max()))
        total += float(wave.sum(dtype=np.float64))
        squares += float(np.square(wave, dtype=np.float64).sum())
        values += block.size
        # A later block may have larger extremes than those before it: restart the count.
        for sign, known in extremes.items():
            extreme = float((sign * block).max())
            if extreme > known + SAME:
                clipped[sign] = 0
            extremes[sign] = max(known, extreme)
            if extremes[sign] >= FULL_SCALE:
                clipped[sign] += _plateaus(sign * block, extremes[sign])
        step = max(2, round(SILENCE * rate))
        whole = len(block) // step
        if whole:
            cut = wave[: whole * step].reshape(whole, step)
            silent += int((np.ptp(cut, axis=1) == 0).sum())
            pieces += whole
        elif not np.ptp(wave):
            silent, pieces = silent + 1, pieces + 1
    if not samples:
        return {"samples": 0, "duration": 0.0}
    power = max(0.0, squares / samples - (total / samples) ** 2)
    return {
        **{"duration": samples / rate, "rate": float(rate), "channels": channels, "samples": samples},
        **{"not_finite": not_finite, "peak": peak, "rms": float(10 * np.log10(power)) if power > 0 else -np.inf},
        **{"clipped": sum(clipped.values()) / values, "silent": silent / pieces if pieces else 0.0},
    }


def _joined(blocks: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Join blocks to at least a second: a decoder returns a few milliseconds at a time, which would split plateaus."""
    held: list[np.ndarray] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= rate:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _plateaus(block: np.ndarray, extreme: float) -> int:
    """Number of samples of (time, channel) at ``extreme``, :data:`PLATEAU` or more in a row."""
    from scipy.ndimage import binary_opening

    high = np.greater_equal(block.T, extreme - SAME)
    high = high[high.sum(axis=1) >= PLATEAU]  # of a clean signal, none
    return int(binary_opening(high, np.ones((1, PLATEAU), bool)).sum()) if len(high) else 0
