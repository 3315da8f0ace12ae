"""Encoder of raw sound: wav2vec 2.0, HuBERT or WavLM, as torchaudio builds them, from a checkpoint on disk.

In: samples (B, L, 1) at 16 kHz and their mask. Out: one token per second of the window, the mean and standard deviation
of the network's states in it (states.py), and the window's logits. A state is a weighted mean of the outputs of all
layers: a plain mean while the network is frozen; the weights are learned with it when it is fine-tuned.

The networks look at a whole window at once (attention; in most, a norm over time), so windows shorter than others are
run on their recorded part alone: windows of one length at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchaudio.models import wav2vec2_model, wavlm_model

from eavdash.models.states import StateEncoder

_RATE = 16_000


class WaveEncoder(StateEncoder):
    """The network of torchaudio's ``family`` (wav2vec2, also for HuBERT, or wavlm) with the ``sizes`` of a checkpoint.

    ``normalise``: windows have mean 0 and variance 1 before the network, as its preprocessor_config.json says.
    """

    domain = "wave"

    def __init__(self, classes: int, family: str, sizes: dict[str, Any], normalise: bool = True) -> None:
        layers = sizes["extractor_conv_layer_config"]
        self.kernels = [(int(kernel), int(stride)) for _, kernel, stride in layers]
        shift = 1
        for _, stride in self.kernels:
            shift *= stride
        super().__init__(classes, 1, sizes["encoder_embed_dim"], max(1, round(_RATE / shift)))
        build = wavlm_model if family == "wavlm" else wav2vec2_model
        self.net = build(**sizes, aux_num_out=None)
        self.mix = nn.Parameter(torch.zeros(sizes["encoder_num_layers"]))
        self.normalise = normalise

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted mean (B, S, W) of the layers for samples ``x`` (B, L, 1), ``mask`` (B, L)."""
        lengths = mask.sum(dim=1)
        made = [(n, self.frames(n)) for n in sorted(set(lengths.tolist()))]
        states = x.new_zeros(len(x), self.frames(mask.shape[1]), self.feature_dim // 2)
        for length, frames in made:
            if frames > 0:
                rows = (lengths == length).nonzero()[:, 0]
                weights = self.mix.softmax(dim=0)
                layers = self.layers(x[rows, :length, 0])
                mean = sum(weight * layer for weight, layer in zip(weights, layers, strict=True))
                padded = nn.functional.pad(mean, (0, 0, 0, states.shape[1] - frames))
                states = states.index_add(0, rows, padded.to(states.dtype))
        return states

    def heard(self, mask: Tensor) -> Tensor:
        frames = torch.stack([torch.tensor(self.frames(n)) for n in mask.sum(dim=1).tolist()])
        return torch.arange(self.frames(mask.shape[1]))[None].to(mask.device) < frames[:, None].to(mask.device)

    def layers(self, wave: Tensor) -> list[Tensor]:
        """Return the outputs of all layers (B, S, W) for windows ``wave`` (B, L) that were recorded throughout."""
        if self.normalise:
            centred = wave - wave.mean(dim=1, keepdim=True)
            wave = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()
        found: list[Tensor] = self.net.extract_features(wave)[0]
        transformer: Any = self.net.encoder.transformer
        if not transformer.layer_norm_first:  # torchaudio leaves the norm after the last layer out
            found[-1] = transformer.layer_norm(found[-1])
        return found

    def frames(self, samples: int) -> int:
        """Return the number of states of ``samples``; 0 if there are too few for one. A window has at least one."""
        for kernel, stride in self.kernels:
            samples = max(0, (samples - kernel) // stride + 1)
        return samples
