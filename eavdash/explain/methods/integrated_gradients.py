"""Integrated gradients (Sundararajan et al. 2017), by Captum, with as many points as completeness needs."""

from __future__ import annotations

from eavdash.explain.attributions import Attributed, attribute
from eavdash.explain.methods.asked import Asked


def integrated_gradients(asked: Asked) -> Attributed:
    """Return the attributions of the output, which sum to it minus that at the baseline."""
    return attribute(asked.model, asked.inputs, asked.masks, asked.output, asked.baselines, asked.points, asked.batch)
