"""Audio encoder: the Audio Spectrogram Transformer (Gong, Chung & Glass 2021) on timm's distilled ViT.

In: log-mel energies (B, L, mel) in 10 ms steps and their mask. Out: one token per window, taken after the last norm,
and the window's logits. ``pool`` selects the token:

* ``"class"``: the mean of the class and distillation tokens, as published;
* ``"mean"``: the mean of all patches, which needs fewer recordings when trained from scratch;
* ``"bands"``: a linear map of the patches' mean and standard deviation over time at each frequency, which needs fewer
  still. All frequencies share one patch projection, so the mean of all patches cannot distinguish a low sound from a
  high one until training has combined position and content.

Patches of 16 x 16 are taken every ``stride`` steps along both axes, frequency-major; ``patch`` and ``time_stride``
change that for checkpoints with other sizes. The position embedding is a grid for ``frames`` steps (1024 for the
published checkpoint: 12 x 101 at stride 10); a shorter input uses the middle of its time axis. ``pad_to`` pads every
input to that many steps, as the published pipeline does. ``silence`` fills steps without sound: ``"zero"`` with a
log-mel energy of 0 before scaling (the published padding, +0.467 with AudioSet's constants), ``"mean"`` with 0 after
scaling.
"""

from __future__ import annotations

from functools import partial

import torch
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.errors import ConfigError
from eavdash.models.base import Encoder, EncoderOutput

PATCH = 16
SPREAD_FLOOR = 1e-6  # of a variance: the root's gradient is infinite at 0
#: (x - shift) / scale of the AudioSet checkpoint.
AUDIOSET_SHIFT = -4.2677393
AUDIOSET_SCALE = 2 * 4.5689974


def positions(length: int, stride: int, patch: int = PATCH) -> int:
    """Return the number of patches along an axis of ``length`` steps."""
    return (length - patch) // stride + 1


class AudioSpectrogramTransformer(Encoder):
    """AST; the input scaling starts with AudioSet's constants, which training may replace."""

    def __init__(
        self,
        classes: int,
        mels: int,
        frames: int,
        stride: int,
        width: int,
        depth: int,
        heads: int,
        dropout: float = 0.0,
        pad_to: int = 0,
        silence: str = "mean",
        mlp_ratio: float = 4.0,
        eps: float = 1e-12,
        pool: str = "class",
        qkv_bias: bool = True,
        act: str = "",
        patch: int = PATCH,
        time_stride: int = 0,
    ) -> None:
        super().__init__(shift_shape=(1, 1, mels))
        if mels < patch:
            raise ConfigError.at(
                "audio.mels", expected=f"at least {patch}", found=str(mels), remedy="raise the setting"
            )
        frames, time_stride = max(frames, patch), time_stride or stride
        self.feature_dim = width
        self.pad_to = max(pad_to, patch)
        self.silence = silence
        self.pool = pool
        self.grid = (positions(mels, stride, patch), positions(frames, time_stride, patch))  # frequency, time
        self.ast = VisionTransformerDistilled(  # type: ignore[no-untyped-call]  # timm types no parameter of it
            img_size=(self.grid[0] * patch, self.grid[1] * patch),
            patch_size=patch,
            in_chans=1,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            num_classes=0,
            proj_drop_rate=dropout,
            norm_layer=partial(nn.LayerNorm, eps=eps),
            act_layer=act or None,
        )
        # timm has no overlapping patches: replace its projection and disable its size check.
        self.ast.patch_embed.proj = nn.Conv2d(1, width, patch, stride=(stride, time_stride))
        self.ast.patch_embed.img_size = None
        self.bands = nn.Linear(2 * self.grid[0] * width, width) if pool == "bands" else None
        self.head = nn.Sequential(nn.LayerNorm(width, eps=eps), nn.Linear(width, classes))
        self.set_scaling(torch.full((mels,), AUDIOSET_SHIFT), torch.full((mels,), AUDIOSET_SCALE))

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        """Map ``x`` (B, L, mel) float32 log-mel energies, ``mask`` (B, L) to tokens (B, 1, D), logits (B, K)."""
        return self.forward_head(self.forward_features(x, mask), mask)

    @property
    def new_parts(self) -> tuple[nn.Module, ...]:
        """The head and the layer that joins the frequency bands, which no published checkpoint contains."""
        return (self.head,) if self.bands is None else (self.bands, self.head)

    def forward_features(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return features (B, T, D) after the last norm.

        T is 1 for the mean of the class and distillation tokens or of the patches; with ``"bands"`` the features are
        the patches' means over time at each frequency, followed by their standard deviations.
        """
        missing = self.pad_to - x.shape[1]
        if missing > 0:
            x, filled = F.pad(x, (0, 0, 0, missing)), F.pad(mask, (0, missing))
        else:
            filled = mask
        silence = self.scaled(torch.zeros_like(x)) if self.silence == "zero" else torch.zeros_like(x)
        x = torch.where(filled[:, :, None], self.scaled(x), silence)
        x = self.ast.patch_embed(x.transpose(1, 2)[:, None])  # (B, frequency * time, D)
        prefix = torch.cat([self.ast.get_parameter("cls_token"), self.ast.dist_token], dim=1).expand(len(x), -1, -1)
        x = torch.cat([prefix, x], dim=1) + self._positions(x.shape[1])
        x = self.ast.norm(self.ast.blocks(self.ast.norm_pre(self.ast.pos_drop(x))))
        if self.pool == "mean":
            return x[:, 2:].mean(dim=1, keepdim=True)
        if self.pool == "bands":
            rows = torch.unflatten(x[:, 2:], 1, (self.grid[0], -1))  # (B, frequency, time, D)
            return torch.cat([rows.mean(dim=2), (rows.var(dim=2, correction=0) + SPREAD_FLOOR).sqrt()], dim=1)
        return self.ast.forward_head(x, pre_logits=True)[:, None]

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        """Return token and logits from ``features`` (B, T, D) of :meth:`forward_features`."""
        if self.bands is not None:
            features = self.bands(features.flatten(1))[:, None]
        return EncoderOutput(features, mask.any(dim=1, keepdim=True), self.head(features[:, 0]))

    def _positions(self, patches: int) -> Tensor:
        """Return the position embedding (1, 2 + patches, D) from the middle of the grid's time axis."""
        rows, columns = self.grid
        used = patches // rows
        if used > columns:
            raise ConfigError.at(
                "audio window",
                expected=f"at most {columns} positions in time",
                found=f"{used}",
                remedy="use shorter windows, or train a model for this length",
            )
        embedding = self.ast.get_parameter("pos_embed")
        start = columns // 2 - used // 2
        grid = torch.unflatten(embedding[:, 2:], 1, (rows, columns))[:, :, start : start + used]
        return torch.cat([embedding[:, :2], grid.flatten(1, 2)], dim=1)
