"""EGI's folders (.mff), written by mffpy, which MNE reads them with."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

NET = "HydroCel GSN 128 1.0"


def write_mff(path: Path, microvolt: np.ndarray, rate: int) -> str:
    """Write (129, time) of a net of 128 electrodes and its reference."""
    with warnings.catch_warnings(action="ignore"):
        from mffpy.bin_writer import BinWriter
        from mffpy.writer import Writer

        samples = BinWriter(sampling_rate=rate, data_type="EEG")
        samples.add_block(microvolt.astype(np.float32), offset_us=0)
        writer = Writer(str(path))
        writer.addbin(samples)
        writer.addxml("fileInfo", recordTime=datetime(2020, 1, 1, tzinfo=UTC))
        writer.add_coordinates_and_sensor_layout(NET)
        writer.write()
    return str(path)
