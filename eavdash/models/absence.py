"""Telling a fusion that a recorded modality is absent: for coalitions and what-ifs."""

from __future__ import annotations

from eavdash.models.fusion import Fusion
from eavdash.models.paper_fusion import PaperFusion
from eavdash.models.token_attention import TokenAttention


def needs_means(fusion: Fusion) -> bool:
    """Return True if the fusion was never trained with absent modalities, so that training means stand for them."""
    if isinstance(fusion, TokenAttention):
        return False  # what is masked gets no attention, whatever it was trained with
    return isinstance(fusion, PaperFusion) or not fusion.modality_dropout
