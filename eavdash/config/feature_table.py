"""The settings of recordings that are tables of features by time (data/formats/feature_table.py)."""

from __future__ import annotations

from dataclasses import dataclass

from eavdash.config.setting import setting


@dataclass(frozen=True)
class FeatureTableConfig:
    """The reading of a table of features by the encoder ``table``; other encoders ignore it."""

    time: str = setting(
        "",
        "Column of the rows' times in seconds; NAME/N where it counts N per second, as frame/30 or time_ms/1000; "
        "empty: timestamp, time, frameTime or start.",
    )
    columns: tuple[str, ...] = setting(
        (),
        "Columns that are features, as names or patterns; with a minus before it, columns that are none: AU*,-AU28_c. "
        "Empty: all numbers but times, frames, faces, confidence and labels.",
    )
    rate: float = setting(25.0, "Rows per second that a window has.", above=0, at_most=1_000)
