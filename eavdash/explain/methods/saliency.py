"""Saliency (Simonyan et al. 2014), by Captum: the magnitude of the gradient at the window itself.

Volts, brightness and logarithms of energy cannot be compared, so the gradient is that by the *scaled* input: how much
the output changes when a value changes by one unit of its encoder's scaling, in most encoders a standard deviation.
"""

from __future__ import annotations

from typing import cast

from captum.attr import Saliency

from eavdash.explain.attributions import Attributed, one_colour
from eavdash.explain.methods.asked import Asked
from eavdash.models.base import Encoder


def saliency(asked: Asked) -> Attributed:
    """Return the magnitudes of the gradients; those of the three colours of a pixel are added."""
    leaves = tuple(x.detach().clone().requires_grad_() for x in asked.values)
    with asked.gradients():
        found = Saliency(asked.function).attribute(leaves, additional_forward_args=asked.fixed)
    scales = {m: cast(Encoder, asked.model.encoders[m]).get_buffer("scale") for m in asked.names}
    values = {m: one_colour(x.detach() * scales[m]) for m, x in zip(asked.names, found, strict=True)}
    return Attributed(values, *asked.ends(values))
