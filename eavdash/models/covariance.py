"""Linear algebra of covariance matrices: matrix logarithm, tangent space at a reference, filters of frequency bands.

Symmetric positive definite matrices are (..., C, C) float64. The geometric mean is delegated to pyriemann and the
filters' design to scipy; the rest is torch, because gradients have to pass through it. References: Barachant et al.
2012, https://doi.org/10.1109/TBME.2011.2172210 (tangent space).
"""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Edges of the frequency bands in Hz between the lowest and the highest frequency.
EDGES = (4.0, 8.0, 13.0, 20.0, 30.0)
#: A band below this frequency would need windows of many seconds.
LOWEST = 1.0
NARROWEST = 1.0  # Hz
CYCLES = 2.0  # of the lowest frequency in the shortest window
_TINY = 1e-300  # keeps the logarithm of an eigenvalue that rounding has made negative finite


def bands_of(low: float, high: float, rate: float) -> list[tuple[float, float]]:
    """Return the bands, from and to in Hz, between ``low`` and ``high`` of signals at ``rate`` Hz; none may be left.

    The highest frequency is 0.45 of the rate, above which resampling has attenuated the signal.
    """
    low, high = max(low, LOWEST), min(high, 0.45 * rate)
    edges = [low, *(edge for edge in EDGES if low + NARROWEST <= edge <= high - NARROWEST), high]
    return list(pairwise(edges)) if high - low >= NARROWEST else []


def band_filters(bands: list[tuple[float, float]], rate: float) -> Tensor:
    """Return linear-phase band-pass filters (band, tap) float64, shorter ones padded by zeros on both sides.

    Each is a windowed sinc (Hamming) with the transition width that MNE takes for the band's lower edge.
    """
    from scipy.signal import firwin

    made = []
    for low, high in bands:
        transition = min(max(0.25 * low, 2.0), low)
        taps = 2 * math.ceil(3.3 * rate / transition / 2) + 1
        made.append(firwin(taps, [low, high], pass_zero=False, fs=rate))
    longest = max(map(len, made))
    filters = torch.zeros(len(made), longest, dtype=torch.float64)
    for row, taps_of in zip(filters, made, strict=True):
        margin = (longest - len(taps_of)) // 2
        row[margin : margin + len(taps_of)] = torch.tensor(taps_of.tolist(), dtype=torch.float64)
    return filters


def filtered(x: Tensor, filters: Tensor) -> Tensor:
    """Return ``x`` (B, C, T) in each band (B, band, C, T), without delay; before and after it are zeros."""
    taps = filters.shape[-1]
    size = x.shape[-1] + taps - 1
    spectrum = torch.fft.rfft(x, size)[:, None] * torch.fft.rfft(filters, size)[None, :, None]
    found: Tensor = torch.fft.irfft(spectrum, size)
    return found[..., taps // 2 : taps // 2 + x.shape[-1]]


def covariances(x: Tensor, mask: Tensor) -> Tensor:
    """Return the covariance matrices (B, ..., C, C) of ``x`` (B, ..., C, T) over the samples ``mask`` (B, T).

    They are 0 without any sample, and divided by the number of samples, like scikit-learn's empirical covariance.
    """
    mask = mask.view(len(mask), *([1] * (x.ndim - 2)), -1)
    count = mask.sum(dim=-1, keepdim=True).clamp_min(1)
    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    mean = torch.where(mask, x, zero).sum(dim=-1, keepdim=True) / count
    centred = torch.where(mask, x - mean, zero)
    return centred @ centred.mT / count


class _Logarithm(torch.autograd.Function):
    """Logarithm of symmetric matrices with the derivative of Daleckii and Krein, finite for equal eigenvalues too.

    torch's own derivative of eigenvectors divides by the differences of eigenvalues.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        values, vectors = _eigen(matrix)
        ctx.save_for_backward(values, vectors)
        return (vectors * values.log()[..., None, :]) @ vectors.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        values: Tensor = ctx.saved_tensors[0]
        vectors: Tensor = ctx.saved_tensors[1]
        inner = vectors.mT @ ((gradient + gradient.mT) / 2) @ vectors
        return vectors @ (inner * _slopes(values)) @ vectors.mT


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return positive eigenvalues (..., C) and eigenvectors (..., C, C) of symmetric matrices."""
    values, vectors = torch.linalg.eigh(matrix)
    return values.clamp_min(_TINY), vectors


def _slopes(values: Tensor) -> Tensor:
    """Return (log a - log b) / (a - b) of all pairs of eigenvalues (..., C, C); 1 / a where they are equal."""
    a, b = values[..., :, None], values[..., None, :]
    ratio = (a - b) / (a + b)
    near = ratio.square() < 1e-5  # there the difference of logarithms has lost digits, and a series is exact
    series = 2 / (a + b) * (1 + ratio.square() / 3 + ratio.pow(4) / 5)
    return torch.where(near, series, (a.log() - b.log()) / torch.where(near, torch.ones_like(ratio), a - b))


def logarithm(matrix: Tensor) -> Tensor:
    """Return the matrix logarithm of symmetric positive definite matrices (..., C, C)."""
    found: Tensor = _Logarithm.apply((matrix + matrix.mT) / 2)  # type: ignore[no-untyped-call]  # torch's own
    return found


@torch.no_grad()
def inverse_root(matrix: Tensor) -> Tensor:
    """Return the inverse square root of symmetric positive definite matrices (..., C, C); no gradients pass."""
    values, vectors = _eigen((matrix + matrix.mT) / 2)
    return (vectors * values.rsqrt()[..., None, :]) @ vectors.mT


def tangent_vectors(matrix: Tensor, whitening: Tensor) -> Tensor:
    """Return the tangent vectors (..., C (C + 1) / 2) of matrices at a reference, given its inverse square root.

    They are the upper triangle of the logarithm of the re-centred matrix, off the diagonal times the root of 2, so that
    lengths are distances; the same as pyriemann's ``TangentSpace`` with the metric ``riemann``.
    """
    found = logarithm(whitening @ matrix @ whitening.mT)
    size = matrix.shape[-1]
    rows, columns = torch.triu_indices(size, size, device=matrix.device)
    weight = torch.where(rows == columns, 1.0, math.sqrt(2.0)).to(found.dtype)
    return found[..., rows, columns] * weight


@torch.no_grad()
def geometric_mean(matrices: Tensor) -> Tensor:
    """Return the affine-invariant mean (C, C) of symmetric positive definite matrices (N, C, C)."""
    from pyriemann.geometry.mean import mean_riemann

    with threadpool_limits(1), warnings.catch_warnings():  # the same result with any number of threads
        warnings.filterwarnings("ignore", "Convergence not reached")  # a reference need not be exact
        return torch.as_tensor(mean_riemann(matrices.cpu().numpy())).to(matrices)
