"""The channel of a recording that is heard: the setting ``audio.channel``.

In: a sound and a segment of it. Out: the channel's number, or None for the mean of all.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eavdash.config.choices import CHANNEL_NUMBERS, LOUDEST, MIX
from eavdash.data.audio.samples import Sound
from eavdash.errors import RecordingError


def chosen_channel(sound: Sound, channel: str, first: int, last: int) -> int | None:
    """Return the number (from 0) of the channel that ``audio.channel`` names in samples ``first`` to ``last``.

    None: the mean of all channels. ``loudest`` is the channel with the largest variance, of equal ones the first.

    Raises:
        RecordingError: there is no such channel, or the sound cannot be read.
    """
    if channel == MIX:
        return None
    if channel == LOUDEST:
        variances = np.diag(covariance(sound.blocks(first, last), sound.channels)) if sound.channels > 1 else [0.0]
        return int(np.argmax(variances))
    number = CHANNEL_NUMBERS.get(channel) or int(channel)
    if number > sound.channels:
        raise RecordingError.at(
            sound.path,
            expected=f"channel {number}, as audio.channel={channel} says",
            found="one channel" if sound.channels == 1 else f"{sound.channels} channels",
            remedy="set audio.channel to mix or loudest, or leave the trial out",
        )
    return number - 1


def covariance(blocks: Iterator[np.ndarray], channels: int) -> np.ndarray:
    """Return the covariance (channel, channel) of (time, channel) pieces; samples that are not finite count as 0."""
    count, total, products = 0, np.zeros(channels), np.zeros((channels, channels))
    for block in blocks:
        block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64)
        count, total, products = count + len(block), total + block.sum(axis=0), products + block.T @ block
    return products / max(1, count) - np.outer(total, total) / max(1, count) ** 2


def heard(block: np.ndarray, channel: int | None) -> np.ndarray:
    """Return (time,) of (time, channel): one channel, or the mean of all."""
    if block.shape[1] == 1 or channel is not None:
        return block[:, channel or 0]
    return np.asarray(block.mean(axis=1))
