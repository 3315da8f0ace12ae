"""Default fusion: attention over the tokens of all modalities weights the encoders' probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eavdash.models.fusion import FusionOutput, Tensors
from eavdash.models.token_attention import TokenAttention

_NEGLIGIBLE = 1e-30


class AttentionFusion(TokenAttention):
    """A class token attends to the tokens of all modalities; its shares weight the encoders' opinions.

    The output is ``gain`` times the log of the encoders' probabilities (softmax of ``encoder_logits``) averaged with
    the attention shares as weights. A new fusion therefore equals the mean of softmaxes, and a share is the weight of
    that modality in the output. Two alternatives did worse (docs/evaluation.md): averaging log-probabilities, where one
    overconfident wrong encoder outweighs the others at any share, and values computed from the features, which
    memorised the few dozen trials of one subject. With every modality absent the output is uniform.
    """

    kind = "attention"

    def __init__(
        self,
        dims: Mapping[str, int],
        width: int = 64,
        heads: int = 4,
        depth: int = 1,
        dropout: float = 0.2,
        modality_dropout: float = 0.2,
        calibrated: bool = False,
    ) -> None:
        super().__init__(dims, width, heads, depth, dropout, modality_dropout, calibrated, shared=False)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        attended = self.attend(tokens, masks)
        pooled = self._pooled_log_probabilities(encoder_logits, attended.shares.mean(dim=1))
        logits = self.gain * pooled / self.get_buffer("temperature")
        return FusionOutput(logits, attended.shares, attended.maps)

    def _pooled_log_probabilities(self, encoder_logits: Tensors | None, shares: Tensor) -> Tensor:
        """Return the log (B, K) of the encoders' probabilities weighted by ``shares`` (B, M); 0 if all shares are 0.

        Summing in log space avoids underflow.
        """
        terms = []
        for _, share, logits in self.opinions(encoder_logits, shares):
            # An absent modality gets a negligible weight instead of 0, so that the gradient stays finite.
            weight = torch.where(share > 0, share, torch.full_like(share, _NEGLIGIBLE)).log()
            terms.append(weight + logits.log_softmax(dim=1))
        pooled = torch.stack(terms).logsumexp(dim=0)
        return torch.where((shares > 0).any(dim=1, keepdim=True), pooled, torch.zeros_like(pooled))
