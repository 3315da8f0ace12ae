"""Expected gradients (Erion et al. 2021): integrated gradients from each of several baselines, averaged."""

from __future__ import annotations

from eavdash.explain.attributions import Attributed
from eavdash.explain.methods.asked import Asked
from eavdash.explain.methods.integrated_gradients import integrated_gradients


def expected_gradients(asked: Asked) -> Attributed:
    """Return the attributions of the output, which sum to it minus its mean at the baselines."""
    return integrated_gradients(asked)
