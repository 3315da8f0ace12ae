"""The reference method's modules, rebuilt from its description with torch's layers, which our models must equal.

Attribute names follow public code of that family (``conv``, ``transformer``, ``mlp``). Every tensor is random.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Randomise every tensor: zero biases and unit norms would hide swapped tensors."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                spread = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.2
                positive = ("norm" in name.lower() and name.endswith("weight")) or name.endswith("running_var")
                value = torch.randn(tensor.shape, generator=random) * spread
                tensor.copy_(1 + value.abs() if positive else value)
    return model.eval()


class PublishedBlock(nn.Module):
    """Post-norm: attention, then three feed-forward units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 4, 0.1, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 3), nn.ReLU(), nn.Dropout(0.1), nn.Linear(3, width))
        self.layernorm0 = nn.LayerNorm(width)
        self.layernorm1 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layernorm0(x + self.attention(x, x, x, need_weights=False)[0])
        return self.layernorm1(x + self.mlp(x))


class PublishedEeg(nn.Module):
    """Map EEG (B, channel, time) in microvolt to logits (B, K); ``feature`` is the input of the fusion."""

    def __init__(self, channels: int = 30, classes: int = 5, width: int = 60, depth: int = 6) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(channels, channels, 11, 1, 5, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Dropout1d(0.1),
            nn.Conv1d(channels, width, 11, 1, 5, bias=False),
            nn.BatchNorm1d(width),
        )
        self.transformer = nn.Sequential(*[PublishedBlock(width) for _ in range(depth)])
        self.mlp = nn.Sequential(
            nn.Linear(width, width // 4), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width // 4, classes)
        )

    def feature(self, x: Tensor) -> Tensor:
        return self.transformer(self.conv(x).transpose(1, 2)).mean(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.feature(x))


class PublishedFusion(nn.Module):
    """Map features of vision, audio and EEG (B, width) to logits (B, K)."""

    def __init__(self, dims: Mapping[str, int], classes: int = 5) -> None:
        super().__init__()
        width = sum(dims.values())
        self.multihead_attn = nn.MultiheadAttention(width, 4, batch_first=True)
        self.fc = nn.Linear(width, 512)
        self.classifier = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, classes))

    def forward(self, x: Tensor) -> Tensor:
        token = x[:, None]
        return self.classifier(self.fc(self.multihead_attn(token, token, token)[0][:, 0]))
