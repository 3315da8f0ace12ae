"""What the explained number of a model is, in words: it depends on how its last layer makes logits."""

from __future__ import annotations

from eavdash.explain.fused import FusedModel
from eavdash.models.attention_fusion import AttentionFusion
from eavdash.models.frames import FrameEncoder
from eavdash.models.paper_fusion import PaperFusion

LOGIT = ("logit", "logits")
#: ``attention`` averages the encoders' probabilities: their logarithm, times a gain, is then normalised again.
POOLED = ("log-probability before normalisation", "log-probabilities before normalisation")
#: Encoders of frames, and ``paper`` with vision, classify each frame and average.
OF_FRAMES = ("mean log-probability of the frames", "mean log-probabilities of the frames")


def unit_of(model: FusedModel, contrast: bool = False) -> str:
    """Return the unit of the attributions of ``model``; of a contrast, that of a difference."""
    fusion = model.fusion
    last = model.encoders[model.modalities[0]] if fusion is None else fusion
    if isinstance(last, AttentionFusion):
        unit = POOLED
    elif isinstance(last, FrameEncoder) or (isinstance(last, PaperFusion) and "vision" in last.modalities):
        unit = OF_FRAMES
    else:
        unit = LOGIT
    return f"difference of {unit[1]}" if contrast else unit[0]
