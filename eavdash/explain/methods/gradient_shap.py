"""GradientSHAP (Lundberg & Lee 2017), by Captum: gradients at random points between baselines and the window.

Each baseline gets as many points, drawn by the seed; a point is the same for all modalities. Nothing but the points is
random: no noise is added to the window. The map's sum is an estimate of the output minus its mean at the baselines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from captum.attr import GradientShap
from torch import Tensor

from eavdash.explain.attributions import Attributed, is_signal, one_colour
from eavdash.explain.methods.asked import Asked
from eavdash.explain.spectrum import by_frequency

#: Random points for each point of the quadrature that integrated gradients begin with.
DRAWS = 2


def gradient_shap(asked: Asked) -> Attributed:
    """Return the mean over baselines and random points of (window - baseline) times the gradient there."""
    names, starts = asked.names, asked.starts
    sums = [torch.zeros_like(one_colour(x)) for x in asked.values]
    spectra = []
    with _drawing(asked.seed), asked.gradients():
        for start in starts:
            gradients = _gradients(asked, start)
            for place, (x, begin, gradient) in enumerate(zip(asked.values, start, gradients, strict=True)):
                sums[place] += one_colour((x - begin) * gradient) / len(starts)
            if "eeg" in names and is_signal("eeg", asked.inputs["eeg"], asked.masks["eeg"]):
                here = names.index("eeg")
                ends = (asked.values[here] - start[here])[0], gradients[here][0], asked.masks["eeg"][0]
                spectra.append(by_frequency(*(each.cpu().numpy() for each in ends)))
    found = dict(zip(names, sums, strict=True))
    return Attributed(found, *asked.ends(found), np.mean(spectra, axis=0) if spectra else None)


def _gradients(asked: Asked, start: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the mean gradients at random points between one baseline and the window, shaped like the inputs."""
    method = GradientShap(asked.function, multiply_by_inputs=False)
    samples, done = DRAWS * asked.points.first, 0
    total = [torch.zeros_like(x) for x in asked.values]
    while done < samples:
        count = min(asked.batch, samples - done)
        found = method.attribute(asked.values, start, n_samples=count, stdevs=0.0, additional_forward_args=asked.fixed)
        for sum_, each in zip(total, found, strict=True):
            sum_ += each.detach() * (count / samples)
        done += count
    return total


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Seed the global generators that Captum draws from, and restore them afterwards."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)
