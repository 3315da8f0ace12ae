"""Where a phase of a run keeps its state and its lines, and the one writer of metrics.jsonl.

A phase that follows another (joint fine-tuning after the fusion's own epochs) numbers its epochs on from that one's and
keeps its lines in front of its own, so that metrics.jsonl is always the whole run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.store.atomic import write_atomic


@dataclass(frozen=True)
class Checkpoint:
    """The files of a phase, and what came before it."""

    resume_file: Path
    metrics_file: Path
    signature: str  # of the data and the configuration: a state of others is not used
    before: Sequence[dict[str, Any]] = ()  # the lines of the phase that this one follows
    phase: str = ""  # its name in each of its lines; empty: the first phase
    begins: Callable[[int], object] = lambda epoch: None  # told after which epoch of the run this phase goes on

    def numbered(self, row: dict[str, Any]) -> dict[str, Any]:
        """The line of an epoch (from 1) of this phase as metrics.jsonl has it."""
        if not self.phase:
            return row
        return {**row, "epoch": len(self.before) + row["epoch"], "phase": self.phase}

    def write_metrics(self, history: Sequence[dict[str, Any]]) -> None:
        """metrics.jsonl: what came before and, numbered on, ``history``.

        Raises:
            TrainingError: it cannot be written.
        """
        text = "".join(json.dumps(row) + "\n" for row in [*self.before, *map(self.numbered, history)])
        write_atomic(self.metrics_file, lambda file: file.write(text.encode()))
