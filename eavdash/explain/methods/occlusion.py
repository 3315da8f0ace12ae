"""Occlusion (Zeiler & Fergus 2014), by Captum's feature ablation: what the output loses with a part of the window.

The parts are the cells that the receipts replace and rank (receipts/cells.py): patches of the face in groups of frames,
patches of the spectrogram, each electrode in slices of time, slices of sound or of each column of a table. A cell is
replaced by the baseline, and its loss is spread evenly over its values, so that sums over a map are losses too. By
frequency a band of one electrode is taken out of its difference from the baseline (a band-stop filter).

Only the encoder of the changed modality runs again. Losses of cells need not sum to what all of them lose together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from captum.attr import FeatureAblation
from torch import Tensor

from eavdash.explain.attributions import Attributed, is_signal, one_colour
from eavdash.explain.methods.asked import Asked
from eavdash.explain.receipts.cells import Cells
from eavdash.explain.spectrum import band_parts
from eavdash.models.base import EncoderOutput


def occlusion(asked: Asked) -> Attributed:
    """Return what the output loses with each cell, and with each band of each electrode."""
    base = {m: x.mean(dim=0, keepdim=True) for m, x in asked.baselines.items()}
    cells = Cells.of({m: one_colour(asked.inputs[m]) for m in asked.names}, asked.masks)
    found, spectrum = {}, None
    with torch.no_grad(), asked.model.holding(asked.inputs, asked.masks):
        encoded = {m: asked.model.encode(m, asked.inputs[m], asked.masks[m]) for m in asked.names}
        for place, modality in enumerate(asked.names):
            mine = (cells.modality == place).nonzero()[:, 0]
            labels, x = cells.labels[modality], asked.inputs[modality]
            shares = torch.zeros(cells.count + 1, dtype=torch.float64)  # the last: what is not recorded

            def without_cells(kept: Tensor, modality: str = modality, mine: Tensor = mine) -> Tensor:
                removed = torch.zeros(len(kept), cells.count, dtype=torch.bool)
                removed[:, mine] = kept.cpu() == 0
                return cells.replaced({modality: asked.inputs[modality]}, base, removed)[modality]

            if len(mine):
                lost = _losses(asked, encoded, modality, len(mine), without_cells)
                shares[mine] = lost / torch.bincount(labels.flatten(), minlength=cells.count + 1)[mine]
            found[modality] = shares[labels][None].to(x)
            if asked.rate and len(mine) and is_signal(modality, x, asked.masks[modality]):
                spectrum = _without_bands(asked, encoded, x - base[modality])
    return Attributed(found, *asked.ends(found), spectrum)


def _losses(
    asked: Asked,
    encoded: Mapping[str, EncoderOutput],
    modality: str,
    parts: int,
    without: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return what the output loses without each of the ``parts`` of a modality, (parts,) float64.

    ``without``: parts that are kept (B, parts), 1 or 0 → the modality's input (B, ...).
    """

    def function(kept: Tensor) -> Tensor:
        count = len(kept)
        outputs = {m: _repeated(each, count) for m, each in encoded.items()}
        mask = asked.masks[modality].expand(count, -1)
        outputs[modality] = asked.model.encode(modality, without(kept), mask)
        return asked.output.of(asked.model.fuse(outputs).logits).double()

    whole = torch.ones(1, parts, dtype=torch.float64, device=asked.inputs[modality].device)
    lost: Tensor = FeatureAblation(function).attribute(whole, perturbations_per_eval=min(asked.batch, parts))
    return lost[0].cpu()


def _without_bands(asked: Asked, encoded: Mapping[str, EncoderOutput], difference: Tensor) -> np.ndarray:
    """Return what the output loses without a band of an electrode, spread over its frequencies (C, frequency)."""
    x, mask = asked.inputs["eeg"], asked.masks["eeg"][0].cpu().numpy()
    parts, spread = band_parts(difference[0].double().cpu().numpy(), mask, asked.rate)
    flat = torch.from_numpy(parts).to(x)  # (C, band, T)

    def without(kept: Tensor) -> Tensor:
        gone = torch.unflatten((1 - kept).to(x), 1, flat.shape[:2])
        return x - torch.einsum("ncb,cbt->nct", gone, flat)

    lost = _losses(asked, encoded, "eeg", flat.shape[0] * flat.shape[1], without)
    return np.asarray(lost.reshape(flat.shape[:2]).numpy() @ spread)


def _repeated(output: EncoderOutput, count: int) -> EncoderOutput:
    """Return an encoder's output of one window for ``count`` windows that are the same."""

    def more(x: Tensor) -> Tensor:
        return x.expand(count, *x.shape[1:])

    frames = None if output.frame_logits is None else more(output.frame_logits)
    return EncoderOutput(more(output.tokens), more(output.mask), more(output.logits), frames, output.ordered)
