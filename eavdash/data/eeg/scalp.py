"""Scalp maps: interpolation of values at electrodes over the head.

In: canonical channel names. Out: their positions seen from above (nose up), and the weights that interpolate the values
at the electrodes on a grid over the head. Delegated to MNE: the positions of its montages.

The interpolation uses spherical splines (Perrin et al. 1989, https://doi.org/10.1016/0013-4694(89)90180-6) of order 4;
a constant stays constant, and the field matches the electrodes' values except for a slight smoothing that keeps it
stable between close electrodes. The projection preserves distances from the vertex (azimuthal equidistant).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eavdash.data.eeg.electrodes import TEN, montage, system_of

MIN_ELECTRODES = 4  # electrodes needed for a field
GRID = 56  # cells along each side
NOSE = 1.17  # head radii: minimum extent of the drawing
ORDER = 4
TERMS = 50  # Legendre polynomials: the remainder is below 1e-6
SMOOTHING = 1e-7
#: The 10-05 system's rows, from the nose to the neck.
ROWS = (
    *("N", "Fp", "AFp", "AF", "AFF", "F", "FFT FFC", "FT FC", "FTT FCC", "T C", "TTP CCP", "TP CP", "TPP CPP", "P"),
    *("PPO", "PO", "POO", "O", "OI", "I"),
)


@dataclass(frozen=True, eq=False)
class ScalpMap:
    """A grid of ``GRID`` x ``GRID`` cells over [-extent, extent] head radii, rows from the nose to the back.

    ``electrodes``: indices of the used channels among those given. ``positions`` (electrode, 2): to the right and to
    the nose, in head radii. ``cells``: numbers of the cells within the circle of radius extent. ``weights`` (cell,
    electrode) float32: the cells' values are ``weights @ values``.
    """

    electrodes: tuple[int, ...]
    positions: np.ndarray
    extent: float
    cells: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=8)
def scalp_map(channels: tuple[str, ...], system: str = "") -> ScalpMap | None:
    """The map of those ``channels`` that have a position in ``system`` ("": the one that most of them belong to).

    None if they are too few.
    """
    directions = _electrode_directions(system or system_of(channels))
    used = tuple(n for n, name in enumerate(channels) if name in directions)
    if len(used) < MIN_ELECTRODES:
        return None
    used_directions = np.array([directions[channels[n]] for n in used])
    positions = _project(used_directions)
    extent = max(NOSE, float(np.hypot(*positions.T).max())) + 0.05
    middles = (np.arange(GRID) + 0.5) / GRID * 2 - 1
    right, nose = np.meshgrid(extent * middles, -extent * middles)
    cells = np.flatnonzero(np.hypot(right, nose).ravel() <= extent)
    grid = _unproject(np.column_stack([right.ravel(), nose.ravel()])[cells])
    return ScalpMap(used, positions, extent, cells, _weights(used_directions, grid))


def front_to_back(channels: tuple[str, ...], system: str = TEN) -> list[int]:
    """Indices of ``channels`` from the forehead to the neck, each row from left to right; unknown ones last.

    Other systems than 10-05 have no rows: their channels stay in the file's order.
    """
    if system != TEN:
        return list(range(len(channels)))
    directions = _electrode_directions(system)
    rows = {name: n for n, names in enumerate(ROWS) for name in names.split()}

    def rank(n: int) -> tuple[float, float, int]:
        row = rows.get(re.split(r"[0-9z]", channels[n])[0]) if channels[n] in directions else None
        return (len(ROWS), 0.0, n) if row is None else (row, float(directions[channels[n]][0]), n)

    return sorted(range(len(channels)), key=rank)


@lru_cache(maxsize=16)
def _electrode_directions(system: str) -> dict[str, np.ndarray]:
    """Unit vectors (right, nose, up) of all electrodes of the system, from the centre of the fitted sphere."""
    found = montage(system).get_positions()["ch_pos"]
    points = np.array(list(found.values()))
    solution = np.linalg.lstsq(np.column_stack([2 * points, np.ones(len(points))]), (points**2).sum(axis=1))[0]
    vectors = points - solution[:3]
    return dict(zip(found, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))


def _project(directions: np.ndarray) -> np.ndarray:
    """Project (point, 3) on the sphere to (point, 2): radius 1 is a quarter of the circumference."""
    angle = np.arccos(np.clip(directions[:, 2], -1, 1)) / (np.pi / 2)
    across = np.hypot(directions[:, 0], directions[:, 1])
    return np.asarray(directions[:, :2] * (angle / np.maximum(across, 1e-12))[:, None])


def _unproject(flat: np.ndarray) -> np.ndarray:
    """The inverse of :func:`_project`."""
    radius = np.hypot(flat[:, 0], flat[:, 1])
    angle = radius * np.pi / 2
    return np.column_stack([flat * (np.sin(angle) / np.maximum(radius, 1e-12))[:, None], np.cos(angle)])


def _weights(electrodes: np.ndarray, grid: np.ndarray) -> np.ndarray:
    count = len(electrodes)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = _spline(electrodes @ electrodes.T) + SMOOTHING * np.eye(count)
    system[count, count] = 0
    # The last column of the inverse belongs to the constraint and is multiplied by zero.
    solved = np.linalg.inv(system)[:, :count]
    return np.asarray(np.column_stack([_spline(grid @ electrodes.T), np.ones(len(grid))]) @ solved, dtype=np.float32)


def _spline(cosines: np.ndarray) -> np.ndarray:
    n = np.arange(1, TERMS + 1)
    factors = np.concatenate([[0.0], (2 * n + 1) / (n * (n + 1)) ** ORDER / (4 * np.pi)])
    return np.asarray(np.polynomial.legendre.legval(np.clip(cosines, -1, 1), factors))
