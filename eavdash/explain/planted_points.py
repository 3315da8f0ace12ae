"""Stored explanations against what was planted: their maps on the axes of the recordings, with controls.

In: explanations of a study and the truth of its recordings. Out: the points of the pointing game (pointing.py). The
control of a map is the distance of the input from the baseline, |x - baseline|, which knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from eavdash.config.convert import recorded_config
from eavdash.explain.baselines import kind_for
from eavdash.explain.explanation import Explanation
from eavdash.explain.fused import FusedModel, load_fused_model
from eavdash.explain.method_registry import METHODS
from eavdash.explain.pointing import Axes, Pointing, point, point_frequency
from eavdash.explain.recordings import places_of, trial_row
from eavdash.explain.spectrum import by_frequency, frequencies
from eavdash.explain.training_windows import TrainingWindows, training_windows
from eavdash.explain.truth import Truth
from eavdash.models.base import to_encoder_input
from eavdash.store import StudyDir

_CPU = torch.device("cpu")


class PlantedPoints:
    """Makes the points of one explanation after another; keeps the model and training windows of the last run."""

    def __init__(self, study: StudyDir, truth: Truth) -> None:
        self._study, self._truth = study, truth
        self._loaded: tuple[str, str] = ("", "")  # run, subject
        self._model: FusedModel
        self._trained: dict[str, TrainingWindows] = {}

    def of(self, made: Explanation) -> Iterator[Pointing]:
        """Yield every measure of one explanation.

        A modality counts if the trial is decided right and the modality expresses the explained class there; one that
        is noise in the subject counts, as such, with whatever it expresses.

        Raises:
            EavdashError: weights or recordings are missing or damaged.
        """
        for modality, values in made.attributions.items():
            noise = self._truth.is_noise(made.subject, modality)
            planted = self._truth.expressed(made.subject, made.trial, modality)
            matched = planted is not None and made.target == planted.emotion == made.predicted == made.label
            if planted is None or modality in made.columns or not (noise or matched):
                continue
            difference = self._difference(made, modality)
            axes = self._axes(made, modality)
            distance = np.abs(difference).mean(axis=1)
            control = distance.sum(axis=2) if modality == "vision" else distance
            yield from point(modality, values, axes, planted, control, noise)
            # Files of earlier versions lack the spectrum, which follows from the map where that is complete.
            known = made.spectrum is not None or METHODS[made.method].complete
            if modality == "eeg" and known and difference.shape[1] == 1:
                hertz = Axes(axes.times, axes.channels, frequencies(values.shape[-1], made.rate))
                power = by_frequency(difference[:, 0], difference[:, 0])
                yield from point_frequency(_spectrum(made, difference[:, 0]), hertz, planted, power, noise)

    def _difference(self, made: Explanation, modality: str) -> np.ndarray:
        """Return the trial's encoder input minus each of its D baselines: (W, D, ...)."""
        run = self._study.run(made.run)
        if self._loaded != (made.run, made.subject):
            self._model = load_fused_model(self._study, run, _CPU, made.subject)
            self._loaded, self._trained = (made.run, made.subject), {}
        x = to_encoder_input(modality, torch.from_numpy(made.inputs[modality]))
        mean = self._model.baseline(modality, x)
        if kind_for(modality, made.baseline) != "training":
            return np.asarray((x - mean)[:, None])
        if modality not in self._trained:
            self._trained[modality] = training_windows(self._study, run, (modality,), _CPU)
        return np.asarray(x[:, None] - self._trained[modality].baseline(modality, mean[:1]))

    def _axes(self, made: Explanation, modality: str) -> Axes:
        times = made.times[modality]
        crops = self._crops(made) if modality == "vision" else np.zeros((0, 0, 4))
        return Axes(times, made.channels, made.frequencies.get(modality, np.zeros(0)), crops)

    def _crops(self, made: Explanation) -> np.ndarray:
        """Return where in the frame the pictures of a trial are: (W, F, 4), NaN where none was recorded.

        Files of earlier versions lack the places; the face is followed in the video again for them.
        """
        if made.crops is not None:
            return made.crops
        run = self._study.run(made.run)
        row = trial_row(self._study, recorded_config(run.config()), made.subject, made.trial)
        return places_of(self._study, run, row, made.times["vision"])


def _spectrum(made: Explanation, difference: np.ndarray) -> np.ndarray:
    """Return the attributions by frequency (W, C, bin), if need be from those of the samples."""
    if made.spectrum is not None:
        return made.spectrum
    values = made.attributions["eeg"]
    gradient = np.divide(values, difference, out=np.zeros_like(difference), where=difference != 0)
    return by_frequency(difference, gradient)
