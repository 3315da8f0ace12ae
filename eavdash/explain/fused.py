"""A trained model as one function of its recordings: encoders and fusion combined, from input to logits.

In: a finished run. The encoders of a fusion come from its parent runs in config.json or, if they were fine-tuned with
it, from its own folder; the run of a single modality is a model without fusion. Out: a frozen :class:`FusedModel` in
evaluation mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.build import build, load_weights
from eavdash.models.fusion import Fusion, FusionOutput, Tensors
from eavdash.models.people import read_people
from eavdash.store import RunDir, StudyDir


@dataclass
class FusedModelOutput:
    """Output of a :class:`FusedModel` for a batch of windows."""

    fused: FusionOutput
    encoded: dict[str, EncoderOutput]  # of the given modalities


class FusedModel(nn.Module):
    """Encoders and their fusion. If ``fusion`` is None there is a single encoder, whose logits are the output.

    ``people``: by modality, the statistics of the person whose windows are given, for encoders that scale their own
    features: (1, ...) each.
    """

    def __init__(
        self, encoders: Mapping[str, Encoder], fusion: Fusion | None, people: Mapping[str, Tensors] | None = None
    ) -> None:
        super().__init__()
        self.people = {m: found for m, found in (people or {}).items() if found}
        self.modalities = tuple(encoders)
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.eval().requires_grad_(False)

    def predict(self, inputs: Tensors, masks: Tensors) -> FusedModelOutput:
        """Run encoders and fusion on encoder inputs and masks, one entry per present modality."""
        encoded = {m: self.encode(m, inputs[m], masks[m]) for m in self.modalities if m in inputs}
        return FusedModelOutput(self.fuse(encoded), encoded)

    def encode(
        self, modality: str, x: Tensor, mask: Tensor, person: Mapping[str, Tensor] | None = None
    ) -> EncoderOutput:
        """Run one encoder on its input and mask; ``person``: the statistics of another one than in :attr:`people`."""
        found = self.people.get(modality, {}) if person is None else person
        own = {name: v.to(x.device).expand(len(x), *v.shape[1:]) for name, v in found.items()}
        output: EncoderOutput = self.encoders[modality](x, mask, **({"person": own} if own else {}))
        return output

    def fuse(self, encoded: Mapping[str, EncoderOutput]) -> FusionOutput:
        """Run the fusion on the encoders' outputs; without a fusion return those of the only encoder."""
        if self.fusion is None:
            only = encoded[self.modalities[0]]
            return FusionOutput(only.logits, frame_logits=only.frame_logits)
        tokens, valid = {m: e.tokens for m, e in encoded.items()}, {m: e.mask for m, e in encoded.items()}
        output: FusionOutput = self.fusion(tokens, valid, {m: e.logits for m, e in encoded.items()})
        return output

    def forward(self, names: tuple[str, ...], *arguments: Tensor) -> Tensor:
        """Return window logits (B, K); ``arguments`` are the inputs of the modalities ``names``, then their masks."""
        count = len(names)
        inputs = dict(zip(names, arguments[:count], strict=True))
        return self.predict(inputs, dict(zip(names, arguments[count:], strict=True))).fused.logits

    @contextmanager
    def holding(self, inputs: Tensors, masks: Tensors) -> Iterator[None]:
        """Hold what the encoders' scaling takes from these windows themselves (models/eeg_scales.py)."""
        with ExitStack() as held:
            for modality, x in inputs.items():
                held.enter_context(cast(Encoder, self.encoders[modality]).holding(x, masks[modality]))
            yield

    def baseline(self, modality: str, x: Tensor) -> Tensor:
        """Return the baseline of the attributions, shaped like ``x``: the input that scaling maps to zeros.

        It is the mean colour of the training frames for vision (mid-grey for pretrained encoders), the training
        windows' mean spectrum for audio (AudioSet's mean if its constants are used), each channel's mean for EEG (no
        signal if the encoder has an input scale of its own) and each column's for tables of features. For encoders of
        samples it is white noise, the same every time, as loud as ``x``: such networks normalise loudness, so that
        nothing changes on the way from silence except at its very beginning.
        """
        encoder = self.encoders[modality]
        if encoder.domain == "wave":
            noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x)
            return noise * x.square().mean(dim=1, keepdim=True).sqrt()
        return encoder.get_buffer("shift").expand_as(x)


def load_fused_model(
    study: StudyDir, run: RunDir, device: str | torch.device = "cpu", subject: str | None = None
) -> FusedModel:
    """Load the model of ``run`` for windows of a ``subject``; None: encoders use what they fitted on training windows.

    Raises:
        IntegrityError: weights are missing, damaged, or do not match their configuration.
    """
    config = run.config()
    if config.encoders:  # fine-tuned together with the fusion
        encoders: dict[str, Encoder] = {m: build(spec.document()) for m, spec in config.encoders.items()}
        load_weights(nn.ModuleDict(encoders), run.verify("encoders.safetensors"))
    else:
        encoders = {modality: _load(each) for modality, each in encoder_runs(study, run).items()}
    fusion = _load(run) if config.stage == "fusion" else None
    people = {m: read_people(each) for m, each in encoder_runs(study, run).items()} if subject is not None else {}
    own = {m: each.of(subject or "") for m, each in people.items()}
    return FusedModel(encoders, fusion, own).to(device)


def encoder_runs(study: StudyDir, run: RunDir) -> dict[str, RunDir]:
    """Return, by modality, the run in which each encoder of ``run`` was trained alone."""
    config = run.config()
    if config.stage != "fusion":
        return {config.stage: run}
    return {m: study.run(config.parents[m]) for m in config.input.modalities}


def _load(run: RunDir) -> Any:
    return load_weights(build(run.config().architecture), run.verify("model.safetensors"))
