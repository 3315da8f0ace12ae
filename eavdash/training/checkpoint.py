"""Files of a phase of a run: its resume state and metrics.jsonl.

A phase that follows another (joint fine-tuning after the fusion's own epochs) continues the numbering of epochs and
writes the earlier lines before its own, so that metrics.jsonl always covers the whole run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.store.atomic import KEPT, write_atomic


@dataclass(frozen=True)
class Checkpoint:
    """Files of a phase, and the metrics of the phase before it."""

    resume_file: Path
    metrics_file: Path
    signature: str  # of the data and the configuration: a state with another signature is not used
    before: Sequence[dict[str, Any]] = ()  # lines of the phase that this one follows
    phase: str = ""  # name of the phase in its lines; empty: the first phase
    on_start: Callable[[int], object] = lambda epoch: None  # called with the epoch after which the phase starts

    def numbered(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return an epoch's line (numbered from 1 in this phase) with its number in metrics.jsonl."""
        if not self.phase:
            return row
        return {**row, "epoch": len(self.before) + row["epoch"], "phase": self.phase}

    def write_metrics(self, history: Sequence[dict[str, Any]]) -> None:
        """Write metrics.jsonl: the lines of the phase before, then ``history``.

        Raises:
            TrainingError: it cannot be written.
        """
        text = "".join(json.dumps(row) + "\n" for row in [*self.before, *map(self.numbered, history)])
        write_atomic(self.metrics_file, lambda file: file.write(text.encode()), remedy=KEPT)
