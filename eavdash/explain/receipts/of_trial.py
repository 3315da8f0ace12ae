"""The checks of one trial's map, as it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from eavdash.explain.attributions import Attributed, Output
from eavdash.explain.check_record import Check
from eavdash.explain.method_registry import METHODS
from eavdash.explain.receipts.question import ExplainedInputs, ExplainedWindowInputs
from eavdash.explain.receipts.registry import OF_SUMS, check_explanation
from eavdash.explain.recordings import TrialWindow
from eavdash.explain.training_windows import TrainingWindows
from eavdash.explain.window_method import WindowMethod
from eavdash.models.fusion import Tensors
from eavdash.models.seeds import Seeder

#: Points on each path for maps that are only compared: from the mean input, and from each of several training windows.
STEPS, STEPS_EACH = 16, 2


def check_trial(
    method: WindowMethod,
    windows: Sequence[TrialWindow],
    found: Sequence[Attributed],
    output: Output,
    training: TrainingWindows | None,
    seed: Seeder,
) -> tuple[Check, ...]:
    """Check the maps ``found`` of a trial's windows; ``training`` has windows of all modalities, or is None.

    Completeness is a promise of some methods only; magnitudes predict no change.
    """
    kind = METHODS[method.name]
    left_out = OF_SUMS if not kind.signed else () if kind.complete else ("completeness",)
    return check_explanation(question_of(method, windows, found, output, training, seed), left_out)


def question_of(
    method: WindowMethod,
    windows: Sequence[TrialWindow],
    found: Sequence[Attributed],
    output: Output,
    training: TrainingWindows | None,
    seed: Seeder,
) -> ExplainedInputs:
    """Return the maps of a trial's windows as a question to the model, as :func:`check_trial` asks it."""
    asked = [
        ExplainedWindowInputs(
            inputs=window.inputs,
            masks=window.masks,
            attributions=each.values,
            baselines=method.baselines(window.inputs),
            output=each.completeness.output,
            baseline=each.completeness.baseline,
            training=None if training is None else one_of(training, window, method, number, seed),
        )
        for number, (window, each) in enumerate(zip(windows, found, strict=True))
        if each.completeness is not None
    ]

    def again(inputs: Tensors, masks: Tensors) -> dict[str, Tensor]:
        return quickly(method, inputs).attribute(inputs, masks, output).values

    return ExplainedInputs(method.model, asked, output, again, seed)


def quickly(method: WindowMethod, inputs: Tensors) -> WindowMethod:
    """Return the method with as few points as a comparison of maps needs."""
    return replace(method, steps=STEPS_EACH if method.several(inputs) else STEPS)


def one_of(
    training: TrainingWindows, window: TrialWindow, method: WindowMethod, number: int, seed: Seeder
) -> dict[str, Tensor]:
    """Return one training window, drawn for the window ``number``, by modality of that window."""
    place = seed("receipts", "replacement", number) % len(training.names)
    means = {m: method.model.baseline(m, x) for m, x in window.inputs.items()}
    return {m: training.baseline(m, mean)[place : place + 1] for m, mean in means.items()}
