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

    With ``flat_absence`` an absent modality counts like an opinion that says nothing: the others' weights, which would
    otherwise grow, are multiplied by the share of modalities that are present. So adding an opinion that says nothing
    changes nothing, and its Shapley value is zero.

    A modality's share is that of its encoder's opinion in the weighted sum of this window: per head, attention times
    the size of the opinion (root mean square of its centred, calibrated logits), divided by its sum over the
    modalities. So an encoder that guesses has a small share although the attention to its tokens hardly leaves 1/m
    with few training windows. Until :meth:`set_temperatures` was called, a share is the attention alone. The MLP's
    part of the output is in no share; Shapley values of the modalities contain it.
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
        flat_absence: bool = False,
    ) -> None:
        super().__init__(dims, width, heads, depth, dropout, modality_dropout, calibrated, shared=True)
        self.flat_absence = flat_absence
        self.value = nn.Linear(width, width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes))
        for parameter in self.head[-1].parameters():
            nn.init.zeros_(parameter)
        self.gain = nn.Parameter(torch.ones(()))
        self.register_buffer("temperatures", torch.ones(len(self.modalities)))
        self.register_buffer("calibrated_opinions", torch.zeros((), dtype=torch.bool))

    def set_temperatures(self, temperatures: Mapping[str, float]) -> None:
        """Set the temperature, above 0, that divides the logits of each modality's encoder."""
        values = [temperatures[name] for name in self.modalities]
        self.get_buffer("temperatures").copy_(torch.tensor(values))
        self.get_buffer("calibrated_opinions").fill_(True)

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        attended = self.attend(tokens, masks)
        value = torch.unflatten(self.value(attended.tokens), 2, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, D)
        gathered = (attended.weights[:, :, None] @ value).flatten(1)  # (B, width)
        temperatures = self.get_buffer("temperatures")
        given = self.opinions(encoder_logits, attended.shares.mean(dim=1))
        weighted = torch.stack([share * (x / temperatures[i]).log_softmax(dim=1) for i, share, x in given]).sum(dim=0)
        if self.flat_absence:
            weighted = weighted * (attended.shares.sum(dim=1) > 0).to(weighted.dtype).mean(dim=1, keepdim=True)
        logits = (self.gain * weighted + self.head(gathered)) / self.get_buffer("temperature")
        sizes = torch.zeros_like(attended.shares[:, 0])  # (B, M)
        for i, _, x in given:
            sizes[:, i] = (x / temperatures[i]).std(dim=1, correction=0)
        return FusionOutput(logits, self._shares(attended.shares, sizes), attended.maps)

    def _shares(self, attention: Tensor, sizes: Tensor) -> Tensor:
        """Return the shares of opinions of these ``sizes`` (B, M) for the ``attention`` (B, heads, M)."""
        weights = attention * sizes[:, None]
        total = weights.sum(dim=-1, keepdim=True)
        known = self.get_buffer("calibrated_opinions") & (total > 0)  # flat opinions: the attention alone
        return torch.where(known, weights / total.clamp_min(torch.finfo(weights.dtype).tiny), attention)
