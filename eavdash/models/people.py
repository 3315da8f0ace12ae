"""Statistics of each person, for encoders that scale their own features by person (models/base.py).

In: the statistics that such an encoder has computed from windows of each person. Out: :class:`People`, which gives each
window those of its person, and a file of the run: tensors by name, (person, ...), and the people's names in its header.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from eavdash.config.scaling import OTHERS
from eavdash.errors import IntegrityError
from eavdash.store import RunDir
from eavdash.store.atomic import write_atomic
from eavdash.store.regular import require_regular

_NAMES = "people"  # in the file's header


@dataclass(frozen=True)
class People:
    """Statistics (person, ...) by name, on the CPU, in the order of ``names``. Without any nobody is scaled.

    The entry :data:`~eavdash.config.scaling.OTHERS` is used for people without statistics of their own.
    """

    names: tuple[str, ...] = ()
    values: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of statistics of a person."""
        return len(self.values)

    def places(self, subjects: Iterable[str]) -> Tensor:
        """Return the position (window,) int64 of each window's person."""
        at = {name: place for place, name in enumerate(self.names)}
        return torch.tensor([at.get(subject, at.get(OTHERS, 0)) for subject in subjects], dtype=torch.int64)

    def tensors(self, places: Tensor) -> tuple[Tensor, ...]:
        """Return each statistic (window, ...) of the people at ``places``."""
        return tuple(value[places] for value in self.values.values())

    def of(self, subject: str) -> dict[str, Tensor]:
        """Return the statistics of one person by name, (1, ...) each."""
        return dict(zip(self.values, self.tensors(self.places([subject])), strict=True))

    def keyword(self, tensors: Sequence[Tensor]) -> dict[str, Any]:
        """Return the argument ``person`` of an encoder for what :meth:`tensors` returned; empty if nobody is scaled."""
        return {"person": dict(zip(self.values, tensors, strict=True))} if self.values else {}

    def save(self, run: RunDir) -> None:
        """Write the run's file; none if nobody is scaled."""
        if self.values:
            content = save({k: v.contiguous() for k, v in self.values.items()}, {_NAMES: json.dumps(self.names)})
            write_atomic(run.people_file, lambda file: file.write(content))


def of_people(found: Mapping[str, Mapping[str, Tensor]], trained: Iterable[str]) -> People:
    """Return the statistics ``found`` by person, and for others the mean of those of the people ``trained``."""
    known = [found[name] for name in trained if name in found]
    others = {key: torch.stack([each[key] for each in known]).mean(dim=0) for key in known[0]}
    every = {**found, OTHERS: others}
    return People(tuple(every), {key: torch.stack([each[key] for each in every.values()]) for key in sorted(others)})


def read_people(run: RunDir) -> People:
    """Return the statistics of a finished encoder's people; of one that scales nobody, none.

    Raises:
        IntegrityError: the file is missing or damaged.
    """
    file = run.people_file
    if not file.exists() and file.name not in run.status().checksums:
        return People()
    run.verify(file.name)
    with IntegrityError.from_os(file, expected="statistics of people", remedy=run.remedy):
        require_regular(file)
    try:
        with safe_open(file, "pt") as opened:
            names = json.loads((opened.metadata() or {})[_NAMES])
            return People(tuple(names), {key: opened.get_tensor(key) for key in sorted(opened.keys())})
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise IntegrityError.at(file, expected="statistics of people", found=str(error), remedy=run.remedy) from error
