"""Covering a part of the face, or any box of the crop.

The face detector gives a box around the face and no landmarks, and windows hold the crop around that box alone. The
regions are therefore fixed boxes of the crop, around where eyes and mouth are in it (docs/what-if.md has
what was measured); they need a crop that follows the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from eavdash.data.windows import WindowSet
from eavdash.errors import UsageError
from eavdash.explain.changes.base import Change, by_step, is_table, with_steps
from eavdash.explain.changes.parsing import wrong

Box = tuple[float, float, float, float]

#: Left, top, right and bottom as fractions of a crop with :data:`MARGIN`.
REGIONS: dict[str, Box] = {
    "mouth": (0.25, 0.62, 0.75, 0.86),
    "eyes": (0.20, 0.34, 0.80, 0.50),
    "brows": (0.20, 0.22, 0.80, 0.36),
}
MARGIN = 0.2  # of the crop, on each side of the face's box, in parts of its side


@dataclass(frozen=True)
class Cover(Change):
    """The part ``name`` of the face, or ``box`` if the name is empty."""

    name: str = ""
    box: Box = (0.0, 0.0, 1.0, 1.0)

    option: ClassVar[str] = "cover"

    @classmethod
    def parse(cls, text: str) -> Self:
        asked = text.strip().removeprefix("vision:").strip().casefold()
        if asked in REGIONS:
            return cls("vision", asked)
        try:
            box = tuple(float(part) for part in asked.split(","))
        except ValueError:
            box = ()
        if len(box) != 4 or not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            parts = ", ".join(REGIONS)
            raise wrong(cls.option, text, f"{parts}, or left,top,right,bottom in 0 to 1, as in 0.2,0.6,0.8,0.9")
        return cls("vision", "", (box[0], box[1], box[2], box[3]))

    @property
    def argument(self) -> str:
        return self.name or ",".join(f"{edge:g}" for edge in self.box)

    @property
    def words(self) -> str:
        return f"the {self.name} covered" if self.name else f"the box {self.argument} of the crop covered"

    @property
    def definition(self) -> str:
        return (
            "Covered: every pixel of the box gets the frame's mean colour. Parts of the face are fixed boxes of its "
            "crop, since the face detector keeps no landmarks."
        )

    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        if is_table(windows):
            raise self.refuse("pictures", "a table of features", "leave this change out")
        values, valid = by_step(windows), np.asarray(windows.mask, dtype=bool)
        high, wide = values.shape[2:4]
        left, top, right, bottom = self.box
        rows, columns = _pixels(top, bottom, high), _pixels(left, right, wide)
        colour = np.rint(values.mean(axis=(2, 3), keepdims=True)).astype(values.dtype)
        covered = values.copy()
        covered[:, :, rows, columns] = colour
        values[valid] = covered[valid]
        return with_steps(windows, values)

    def placed(self, crop: str, margin: float) -> Cover:
        """Return the change with its box in crops of that kind and margin.

        Raises:
            UsageError: the crop does not follow the face, so that nothing is known of its parts.
        """
        if not self.name:
            return self
        if crop != "face":
            raise UsageError.at(
                f"--{self.option} {self.name}",
                expected="a study whose crop follows the face",
                found=f"the crop {crop}",
                remedy="cover a box of it, as in --cover 0.2,0.6,0.8,0.9",
            )
        smaller = (1 + 2 * MARGIN) / (1 + 2 * margin)
        left, top, right, bottom = (min(1.0, max(0.0, 0.5 + (e - 0.5) * smaller)) for e in REGIONS[self.name])
        return Cover("vision", self.name, (left, top, right, bottom))


def _pixels(low: float, high: float, count: int) -> slice:
    """Return the pixels of a stretch, at least one."""
    first = min(int(low * count), count - 1)
    return slice(first, max(first + 1, int(np.ceil(high * count - 1e-9))))
