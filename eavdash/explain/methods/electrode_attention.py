"""The attention between electrodes inside EEGformer (Wan et al. 2023): how much each gets. It is not an attribution.

The synchronous transformer attends over the electrodes within each filter. An electrode's share is what all electrodes
give it, averaged over filters, heads and layers; all shares sum to 1. Gates let that transformer through only as far as
training opened them, so a large share may still change little.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from eavdash.errors import UsageError
from eavdash.explain.attributions import Attributed
from eavdash.explain.methods.asked import Asked
from eavdash.explain.methods.attention_weights import own_attention
from eavdash.models.eegformer import EEGformer
from eavdash.models.layers import SelfAttention


def electrode_attention(asked: Asked) -> Attributed:
    """Return each electrode's share of attention, spread evenly over its recorded samples (1, C, T).

    Raises:
        UsageError: the EEG encoder is none of this kind.
    """
    encoder = dict(asked.model.encoders).get("eeg")
    if not isinstance(encoder, EEGformer):
        raise UsageError.at(
            "electrode_attention",
            expected="an encoder of the kind EEGformer",
            found="no EEG" if encoder is None else type(encoder).__name__,
            remedy="choose another method",
        )
    if "eeg" not in asked.inputs:
        return Attributed({}, None, [])
    x, mask = asked.inputs["eeg"], asked.masks["eeg"]
    shares = received(encoder, x, mask)
    spread = mask.double() / mask.sum().clamp_min(1)
    return Attributed({"eeg": (shares[None, :, None] * spread[:, None]).to(x)}, None, [])


def received(encoder: EEGformer, x: Tensor, mask: Tensor) -> Tensor:
    """Return the shares (C,) float64 of attention that the electrodes of a window (1, C, T) get."""
    blocks = [cast(SelfAttention, block.attention) for block in encoder.synchronous]
    with torch.no_grad(), own_attention(blocks) as layers:
        encoder(x, mask)
    return torch.stack([weights.double().mean(dim=(0, 1)) for weights in layers]).mean(dim=0)
