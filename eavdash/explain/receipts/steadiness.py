"""Stability and sensitivity: a window that differs by a little noise has nearly the same map.

Stability is the rank correlation of the map with maps of noisy windows (Alvarez-Melis & Jaakkola 2018 ask the same of
the map's values); sensitivity is Captum's ``sensitivity_max`` (Yeh et al. 2019), the largest change of the map's values
relative to the map. The maps of the noisy windows are computed again by the method, so that a map that was stretched,
mixed up or computed for another class differs from them.
"""

from __future__ import annotations

from captum.metrics import sensitivity_max
from torch import Tensor

from eavdash.explain.check_record import Check
from eavdash.explain.receipts.noise import NOISE
from eavdash.explain.receipts.question import NOISY_COPIES, ExplainedInputs, ExplainedWindowInputs
from eavdash.explain.receipts.ranks import rank_correlation
from eavdash.explain.receipts.registry import CHECKS
from eavdash.models.fusion import Tensors

#: Share of the map's magnitude from which on a modality's order of cells is compared.
MATTERS = 0.02


def stability(question: ExplainedInputs) -> Check:
    """Correlate the ranks of the map's cells with those of noisy copies of the window, in each modality that matters.

    The value is that of the modality whose cells keep their order least. One with less than :data:`MATTERS` of the
    map's magnitude is left out: it decides nothing, so its order is the order of rounding.
    """
    if not question.strongest:
        return question.nothing("stability")
    found: dict[str, list[float]] = {}
    for window, (_, maps) in zip(question.strongest, question.noisy, strict=True):
        sizes = {m: float(a.double().abs().sum()) for m, a in window.attributions.items()}
        for place, modality in enumerate(window.cells.labels):
            if sizes[modality] < MATTERS * sum(sizes.values()):
                continue
            here = window.cells.modality == place
            for noisy in window.cells.sums(maps):
                found.setdefault(modality, []).append(rank_correlation(window.cell_values[here], noisy[here]))
    means = {m: sum(values) / len(values) for m, values in found.items()}
    least = min(means, key=means.__getitem__)
    texts = ", ".join(f"{m} {mean:.2f}" for m, mean in means.items())
    reason = (
        f"With noise of {NOISE:.0%} of each modality's own spread the order of a map's cells correlates with the map's "
        f"own by {texts}, over {NOISY_COPIES * len(question.strongest)} noisy windows."
    )
    return CHECKS["stability"].graded(means[least], reason)


def sensitivity(question: ExplainedInputs) -> Check:
    """Return the largest change of the map, relative to it, among noisy copies of the window."""
    if not question.strongest:
        return question.nothing("sensitivity")
    found = [_change(w, *noisy) for w, noisy in zip(question.strongest, question.noisy, strict=True)]
    value = max(found)
    reason = (
        f"Noise of {NOISE:.0%} of each modality's own spread changes the map by at most {value:.0%} of its norm, over "
        f"{NOISY_COPIES * len(found)} noisy windows."
    )
    return CHECKS["sensitivity"].graded(value, reason)


def _change(window: ExplainedWindowInputs, copies: Tensors, maps: Tensors) -> float:
    """Return Captum's sensitivity of one window, given its noisy copies and their maps."""
    names = tuple(window.attributions)
    inputs = tuple(window.inputs[m] for m in names)

    def explanation(asked: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple((window.attributions if asked is inputs else maps)[m].float().contiguous() for m in names)

    def noisy(_: object) -> tuple[Tensor, ...]:
        return tuple(copies[m] for m in names)

    return float(sensitivity_max(explanation, inputs, noisy, n_perturb_samples=NOISY_COPIES))
