"""The interval of one accuracy, the line of guessing, and the rule for when there are too few trials for a conclusion.

In: counts of independent trials, which may be fractional (:mod:`eavdash.results.groups`). Sources: Wilson 1927 (J. Am.
Stat. Assoc. 22:209) for the interval, Combrisson & Jerbi 2015 (J. Neurosci. Methods 250:126) for the chance line.
"""

from __future__ import annotations

import math

import numpy as np

#: With fewer test trials the 95 % interval around an accuracy of 50 % extends more than 20 points to each side.
MIN_TRIALS = 20
_Z95 = 1.959963984540054


def wilson(k: float, n: float, z: float = _Z95) -> tuple[float, float]:
    """Return Wilson's score interval (95 % by default) of ``k`` hits among ``n`` independent items.

    ``k`` may be fractional, a count averaged over seeds, and so may ``n``, an effective number. No items: (0, 1).
    """
    if n <= 0:
        return 0.0, 1.0
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def chance_line(n: float, classes: int, alpha: float = 0.05, majority: float = 0.0) -> float:
    """Return the accuracy that must be *exceeded* to reject guessing at ``alpha``: the binomial quantile over n.

    ``n`` counts independent items: trials, not windows; a fraction is dropped. Guessing is right with probability
    1/classes, or ``majority`` (the share of the most frequent class among the items) if that is larger. 30 trials of 5
    classes: 0.333; 100: 0.27.
    """
    n = math.floor(n + 1e-9)
    if n <= 0 or classes <= 0:
        return 1.0
    from scipy.special import bdtr

    below = bdtr(np.arange(n + 1), n, min(max(1 / classes, majority), 1.0))
    return min(int(np.searchsorted(below, 1 - alpha)), n) / n


def too_few(trials: int) -> str:
    """Return a sentence beginning with "Too few" if there are too few test trials for a conclusion; otherwise empty."""
    if trials >= MIN_TRIALS:
        return ""
    return (
        f"Too few test trials for a conclusion ({trials} of at least {MIN_TRIALS}): the 95 % interval of an accuracy "
        "extends more than 20 points to each side."
    )
