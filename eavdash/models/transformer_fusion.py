"""Fusion by a transformer: shared attention over the tokens of all modalities, and an MLP on what it gathers.

It is the fusion that Yin et al. (2025) describe: flattened features, projected to tokens of one width, multi-head
attention over all of them, and an MLP to the classes. Their published layer (paper_fusion.py) has one token only. Ours
adds the MLP's output to the encoders' own opinions: without them it memorised the training windows of one subject
(docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eavdash.models.fusion import FusionOutput, Tensors
from eavdash.models.token_attention import TokenAttention


class TransformerFusion(TokenAttention):
    """An MLP on the values that a class token gathers from all tokens, added to the encoders' weighted opinions.

    Tokens attend to each other with the same query, key and value for all modalities. The output is

        gain * sum over modalities of weight * log(encoder's calibrated probabilities) + MLP(gathered values),

    where the weight is the class token's attention to that modality, averaged over heads. Each encoder's logits are
    divided by a temperature fitted on validation windows (Guo et al. 2017), so that an overconfident encoder does not
    outweigh the others and one that guesses says nothing. The MLP's last layer starts at zero, so a new fusion is the
    normalised geometric mean of these probabilities, which adds up the evidence of independent modalities; the MLP then
    learns what features say beyond opinions, such as a label that only two modalities together tell. With every
    modality absent the output does not depend on the window.

    A modality's share is that of its encoder's opinion in the weighted sum: per head, attention times the opinion's
    typical size (root mean square of its centred, calibrated logits on validation windows), divided by its sum over the
    modalities. So an encoder that guesses has a small share although the attention to its tokens hardly leaves 1/m with
    few training windows. The MLP's part of the output is in no share; Shapley values of the modalities contain it.
    """

    kind = "transformer"

    def __init__(
        self,
        dims: Mapping[str, int],
        classes: int,
        width: int = 64,
        heads: int = 4,
        depth: int = 1,
        dropout: float = 0.2,
        modality_dropout: float = 0.2,
        calibrated: bool = False,
    ) -> None:
        super().__init__(dims, width, heads, depth, dropout, modality_dropout, calibrated, shared=True)
        self.value = nn.Linear(width, width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes))
        for parameter in self.head[-1].parameters():
            nn.init.zeros_(parameter)
        self.gain = nn.Parameter(torch.ones(()))
        self.register_buffer("temperatures", torch.ones(len(self.modalities)))
        self.register_buffer("sizes", torch.ones(len(self.modalities)))

    def set_opinions(self, temperatures: Mapping[str, float], sizes: Mapping[str, float] | None = None) -> None:
        """Set the temperature, above 0, that divides each encoder's logits, and the typical size of its opinion."""
        for buffer, found in (("temperatures", temperatures), ("sizes", sizes)):
            if found is not None:
                values = [found[name] for name in self.modalities]
                self.get_buffer(buffer).copy_(torch.tensor(values))

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        attended = self.attend(tokens, masks)
        value = torch.unflatten(self.value(attended.tokens), 2, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, D)
        gathered = (attended.weights[:, :, None] @ value).flatten(1)  # (B, width)
        temperatures = self.get_buffer("temperatures")
        given = self.opinions(encoder_logits, attended.shares.mean(dim=1))
        weighted = torch.stack([share * (x / temperatures[i]).log_softmax(dim=1) for i, share, x in given]).sum(dim=0)
        logits = (self.gain * weighted + self.head(gathered)) / self.get_buffer("temperature")
        return FusionOutput(logits, self._shares(attended.shares), attended.maps)

    def _shares(self, attention: Tensor) -> Tensor:
        """Return the shares of the opinions in the output for the ``attention`` (B, heads, M) to modalities."""
        weights = attention * self.get_buffer("sizes")
        return weights / weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
