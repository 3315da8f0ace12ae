"""EEG of one trial: reading, channel names, and preprocessing.

In: a path of the trial table, ``x.mat#41`` for trial 41 (from 1) of a file of arrays (:mod:`eavdash.data.eeg.arrays`)
or anything that ``mne.io.read_raw`` reads (:mod:`eavdash.data.eeg.file`), with start and stop in seconds. Out: an
:class:`EegSignal` in volt with canonical channel names, as recorded (:func:`read_eeg`) or preprocessed
(:func:`read_prepared`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

import numpy as np

from eavdash.config.schema import EegConfig
from eavdash.data.eeg import arrays as eeg_arrays
from eavdash.data.eeg import electrodes
from eavdash.data.eeg import published as eeg_published
from eavdash.data.eeg.channels import canonical, choose_channels
from eavdash.data.eeg.file import file_info, read_file
from eavdash.data.eeg.prepare import Prepared, check_published, prepare, reference_channels
from eavdash.data.eeg.signal import EegInfo, EegRules, EegSignal, Remarks
from eavdash.data.recording import per_file, sample_range, split_item
from eavdash.errors import DataError, RecordingError

#: Minimum share of a study's channels that a recording must have; the rest can be interpolated.
RECORDED = 0.75
#: The rules of today's presets, for what no study's settings decide.
RULES = EegRules()


@per_file(1024)
def eeg_info(path: str, rules: EegRules = RULES) -> EegInfo:
    """Read duration, rate and channels of a recording from its header.

    Raises:
        RecordingError: it cannot be read or has no EEG channel.
    """
    file, number = split_item(path)
    if not eeg_arrays.is_array(file, number) or number is None:
        return file_info(file, rules)
    info = eeg_arrays.array_info(file, number)
    chosen = choose_channels(file, info.channels, info.kinds, rules)
    remarks = Remarks(chosen.passed, chosen.skipped, chosen.repeated, chosen.reference, _marked(info, chosen.read))
    length = info.samples / info.rate
    return EegInfo(length, info.rate, tuple(chosen.read), tuple(chosen.others), chosen.system, remarks)


def read_eeg(
    path: str,
    start: float | None = None,
    stop: float | None = None,
    references: Sequence[str] = (),
    rules: EegRules = RULES,
) -> EegSignal:
    """Read the EEG between ``start`` and ``stop`` (seconds; None: the file's own), as recorded.

    :mod:`eavdash.data.eeg.channels` says which channels are kept. Further channels named in ``references`` (canonical)
    are in the signal's ``others``.

    Raises:
        RecordingError: unreadable, truncated, wrong shape, outside the file or in a gap of it, not finite in the
            segment, or without one of the ``references``.
    """
    check_reference(path, eeg_info(path, rules), references)
    file, number = split_item(path)
    if number is not None and eeg_arrays.is_array(file, number):
        info = eeg_arrays.array_info(file, number)
        chosen = choose_channels(file, info.channels, info.kinds, rules)
        names, others = chosen.read, chosen.others
        first, last = sample_range(path, info.samples, info.rate, start, stop)
        cut = eeg_arrays.source_of(file).trial(file, number)[:, first:last].astype(np.float32)
        beside = {name: cut[others[name]] for name in references if name in others}
        data = cut[list(names.values())]
        signal = EegSignal(data, info.rate, tuple(names), beside, chosen.system, _marked(info, names))
    else:
        signal, first = read_file(file, start, stop, references, rules)
    _check_finite(path, signal, first)
    return signal


def read_prepared(
    path: str,
    start: float | None,
    stop: float | None,
    config: EegConfig,
    channels: Sequence[str] = (),
    threads: int = 1,
) -> Prepared:
    """Read the EEG between ``start`` and ``stop``, preprocessed, with exactly ``channels`` (empty: the file's own).

    Clipping (:func:`eavdash.data.eeg.prepare.clip`) is left to the caller, who may check for rejection before it.

    Raises:
        RecordingError: as :func:`read_eeg`.
        DataError: as :func:`eavdash.data.eeg.prepare.prepare`.
    """
    file, number = split_item(path)
    rules = EegRules.of(config)
    if config.chain == "published" and number is not None:
        check_published(config)
        if file.lower().endswith(".mat"):
            eeg_arrays.array_info(file, number)
            signal = eeg_published.published_trial(file, number, config, start, stop, threads)
            return Prepared(signal.pick(tuple(channels) or signal.channels))
        if file.lower().endswith(".pkl"):
            signal = read_eeg(path, start, stop, rules=rules)
            return Prepared(eeg_published.resample_only(signal.pick(tuple(channels) or signal.channels), config))
    signal = read_eeg(path, start, stop, reference_channels(config.reference), rules)
    return prepare(signal, config, channels)


def check_reference(path: str, info: EegInfo, references: Sequence[str]) -> None:
    """Raise a RecordingError if a recording lacks one of the ``references`` (canonical)."""
    there = (*info.channels, *info.others)
    if missing := [name for name in references if name not in there]:
        raise RecordingError.at(
            path,
            expected=f"the reference {'+'.join(references)}",
            found=f"no {', '.join(missing)} among {', '.join(there)}",
            remedy="change eeg.reference or leave the recording out",
        )


def common_channels(
    paths: Iterable[str],
    wanted: Sequence[str] = (),
    interpolate: bool = False,
    references: Sequence[str] = (),
    rules: EegRules = RULES,
) -> tuple[str, ...]:
    """Choose the channels to read from all of these recordings.

    ``wanted`` (any spelling) if given, else the channels that all have, in the order of the first. With
    ``interpolate``, a recording may lack up to a quarter of the requested channels, if they are electrodes of the
    montage.

    Raises:
        DataError: a requested channel is missing from a recording and cannot be interpolated, a recording lacks one of
            the ``references``, or the recordings have no channel in common or electrodes of different systems, whose
            equal names are different places.
    """
    names = tuple(dict.fromkeys(canonical(name, rules) for name in wanted))
    common: list[str] = []
    system = ""
    # The trials of one file share their channels: read each header once.
    for n, path in enumerate({split_item(path)[0]: path for path in paths}.values()):
        info = eeg_info(path, rules)
        check_reference(path, info, references)
        system = system or info.system
        if info.system != system:
            raise DataError.at(
                path,
                expected=f"electrodes of the system {system}, as in the recordings before",
                found=info.system,
                remedy="study these recordings separately, or give equal places equal names",
            )
        _check_wanted(path, info, names, interpolate)
        common = list(info.channels) if n == 0 else [name for name in common if name in info.channels]
        if not common and not names:
            raise DataError.at(
                path,
                expected="a channel that all recordings of the run have",
                found=", ".join(info.channels),
                remedy="name the channels alike or leave the recording out",
            )
    return names or tuple(common)


def _marked(info: eeg_arrays.ArrayInfo, read: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(name for name, row in read.items() if info.channels[row] in info.bad)


def _check_wanted(path: str, info: EegInfo, names: Sequence[str], interpolate: bool) -> None:
    found = info.channels
    missing = [name for name in names if name not in found]
    if not missing:
        return
    expected, lacks = f"channels {', '.join(names)}", f"no {', '.join(missing)} among {', '.join(found)}"
    if not interpolate:
        remedy = "change eeg.channels, set eeg.bad_channels to interpolate, or leave the recording out"
        raise RecordingError.at(path, expected=expected, found=lacks, remedy=remedy)
    unknown = [name for name in missing if not electrodes.on_scalp(name, info.system)]
    if unknown:
        raise RecordingError.at(
            path,
            expected=expected,
            found=f"no {', '.join(unknown)}, which cannot be interpolated: {info.system} has no such electrode",
            remedy="change eeg.channels or leave the recording out",
        )
    enough = ceil(RECORDED * len(names))
    placed = [name for name in found if electrodes.on_scalp(name, info.system)]
    if len(names) - len(missing) < enough or len(placed) < 4:
        raise RecordingError.at(
            path,
            expected=f"at least {enough} of the {len(names)} channels of eeg.channels, to interpolate the rest from",
            found=f"{len(names) - len(missing)}: {lacks}",
            remedy="take the missing channels out of eeg.channels or leave the recording out",
        )


def _check_finite(path: str, signal: EegSignal, first: int) -> None:
    rows = dict(zip(signal.channels, signal.data, strict=True)) | dict(signal.others)
    bad = {name: np.flatnonzero(~np.isfinite(row)) for name, row in rows.items()}
    name = next((name for name, samples in bad.items() if len(samples)), None)
    if name is not None:
        raise RecordingError.at(
            path,
            expected="finite samples",
            found=f"{sum(map(len, bad.values()))} that are not, the first in {name} "
            f"at {(first + bad[name][0]) / signal.rate:.3f} s",
            remedy="replace the recording or leave the trial out",
        )
