"""Conversion of the state dicts of the reference method (Yin et al. 2025): its EEG encoder and its fusion layer.

In: tensors by name, from ``state_dict()`` of the published modules. Out: the sizes of the model, and its tensors under
our names. Every tensor must be used; an unused or missing one is an error that names it.

The publication defines the modules but not the names of the attributes that hold them, so tensors are identified by
kind and shape, under three assumptions:

* Layers are torch's ``Conv1d``, ``BatchNorm1d``, ``MultiheadAttention``, ``LayerNorm`` and ``Linear``, with torch's
  names for their tensors (``in_proj_weight``, ``running_mean`` ...).
* Where two tensors have the same shape (the two norms of a block), the lower number in the name is nearer to the input.
  The blocks of a stack are also in the order of their numbers.
* The fusion concatenates the features in the order given by the caller; the publication uses vision, audio, EEG.

Vision and audio are Hugging Face models, whose names are fixed (models/weights.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eavdash.errors import ConfigError
from eavdash.models.tensorfiles import tensor_error
from eavdash.text import natural_order

_PROJECTION = ".in_proj_weight"
_HEAD = (
    "the state_dict of the published EEG encoder",
    "give the state_dict of the reference method's EEG encoder, trained alone",
)
_FUSED = (
    "the state_dict of the published fusion",
    "give the state_dicts of the reference method's fusion and of its encoders",
)
#: Running statistics of batch normalisation, which are not learned by gradient descent.
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")


def yin_tensors(file: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return sizes (classes, channels, width, depth) and tensors of a published EEG encoder, under YinEncoder's names.

    Raises:
        ConfigError: a tensor is not used, or a part of the encoder is missing.
    """
    found: dict[str, Tensor] = {}
    used: set[str] = set()

    def take(theirs: str, ours: str, kinds: Sequence[str] = ("weight", "bias")) -> None:
        for kind in kinds:
            name = f"{theirs}.{kind}" if theirs else kind
            if name in tensors:
                found[f"{ours}.{kind}"] = tensors[name]
                used.add(name)

    convolutions = _modules(n for n, t in tensors.items() if n.endswith("weight") and t.ndim == 3)
    norms = _modules(n for n in tensors if n.endswith("running_mean"))
    blocks = _modules(n.removesuffix(_PROJECTION) for n in tensors if n.endswith(_PROJECTION))
    _count(file, _HEAD, "two convolutions", convolutions, 2)
    _count(file, _HEAD, "two batch normalisations", norms, 2)
    for name, target in zip(convolutions, ("stem.0", "stem.4"), strict=True):
        take(name, target, ("weight",))
    for name, target in zip(norms, ("stem.1", "stem.5"), strict=True):
        found[f"{target}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)  # if the file has none
        take(name, target, ("weight", "bias", *_RUNNING))
    if not blocks:
        raise tensor_error(file, _HEAD[0], "no attention (in_proj_weight)", [], _HEAD[1])
    for number, block in enumerate(blocks):
        ours = f"blocks.{number}"
        inside = [n for n in tensors if n.startswith(f"{block}.")]
        attention = next(n for n in inside if n.endswith(_PROJECTION)).removesuffix(_PROJECTION)
        for kind in ("weight", "bias"):
            name = f"{attention}.in_proj_{kind}"
            if name in tensors:
                found[f"{ours}.attention.qkv.{kind}"] = tensors[name]
                used.add(name)
        take(f"{attention}.out_proj", f"{ours}.attention.proj")
        rest = [n for n in inside if not n.startswith(f"{attention}.") and n.endswith(".weight")]
        layers = _modules(n for n in rest if tensors[n].ndim == 2)
        scales = _modules(n for n in rest if tensors[n].ndim == 1)
        _count(file, _HEAD, f"two linear layers in {block}", layers, 2)
        _count(file, _HEAD, f"two norms in {block}", scales, 2)
        for theirs, target in zip(layers, ("feedforward.0", "feedforward.3"), strict=True):
            take(theirs, f"{ours}.{target}")
        for theirs, target in zip(scales, ("norm1", "norm2"), strict=True):
            take(theirs, f"{ours}.{target}")
    head = _modules(n for n, t in tensors.items() if n not in used and n.endswith("weight") and t.ndim == 2)
    _count(file, _HEAD, "two linear layers as classifier", head, 2)
    for theirs, target in zip(head, ("head.0", "head.3"), strict=True):
        take(theirs, target)
    _all_used(file, _HEAD, tensors, used)
    width, channels = found["stem.4.weight"].shape[:2]
    sizes = {"classes": len(found["head.3.weight"]), "channels": channels, "width": width, "depth": len(blocks)}
    return sizes, found


def fusion_tensors(
    file: Path,
    tensors: Mapping[str, Tensor],
    dims: Mapping[str, int],
    order: Sequence[str],
    encoders: Mapping[str, Mapping[str, Tensor]],
) -> tuple[int, dict[str, Tensor], list[str]]:
    """Return the number of classes and the tensors of a published fusion under PaperFusion's names, and notes.

    The notes are about encoders inside the fusion's file.

    Args:
        dims: width of each modality's feature, in the order of our fusion.
        order: the modalities in the order in which the file's fusion concatenates them.
        encoders: the tensors of the encoders' own files. The fusion's file may contain copies, which must be equal.

    Raises:
        ConfigError: a tensor is not used, a part of the fusion is missing, or an encoder differs from its own file.
    """
    used: set[str] = set()
    notes: list[str] = []
    for modality, own in encoders.items():
        prefix = _prefix(tensors, own)
        if prefix is None:
            continue
        for name, tensor in own.items():
            copy = tensors[prefix + name]
            used.add(prefix + name)
            if torch.equal(copy, tensor):
                continue
            if not name.endswith(_RUNNING):
                other = f"a different {prefix + name!r}"
                remedy = f"give the file of the {modality} encoder with which this fusion was trained"
                raise tensor_error(file, f"the same {modality} encoder as in its own file", other, [], remedy)
            note = f"the fusion's file holds other running statistics of the {modality} encoder; not used"
            if note not in notes:
                notes.append(note)
    rest = {n: t for n, t in tensors.items() if n not in used}
    width = sum(dims.values())
    attention = [n.removesuffix("in_proj_weight") for n in rest if n.endswith("in_proj_weight")]
    _count(file, _FUSED, f"one attention over {width} numbers besides the given encoders", attention, 1)
    found: dict[str, Tensor] = {}
    taken: set[str] = set()
    for kind in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"):
        name = attention[0] + kind
        if name in rest:
            found[f"attention.{kind}"] = rest[name]
            taken.add(name)
    asked = found["attention.in_proj_weight"].shape[1]
    if asked != width:
        joined = " + ".join(str(d) for d in dims.values())
        raise tensor_error(file, f"features of {joined} = {width} numbers", f"{asked}", [], _FUSED[1])
    found["attention.in_proj_weight"] = _reordered(found["attention.in_proj_weight"], dims, order)
    reads = width
    for target in ("reduce", "head.0", "head.3"):
        layers = [n for n, t in rest.items() if n not in taken and t.ndim == 2 and t.shape[1] == reads]
        _count(file, _FUSED, f"one linear layer that reads {reads} numbers", layers, 1)
        module = layers[0].removesuffix("weight")
        for kind in ("weight", "bias"):
            if module + kind in rest:
                found[f"{target}.{kind}"] = rest[module + kind]
                taken.add(module + kind)
        reads = len(rest[layers[0]])
    _all_used(file, _FUSED, rest, taken)
    return reads, found, notes


def reorder_rows(head: Tensor, order: Sequence[int]) -> Tensor:
    """Return a last layer's weight (K, D) or bias (K,) with its rows in another order of the classes."""
    return head[torch.as_tensor(order)].clone()


def _reordered(weight: Tensor, dims: Mapping[str, int], order: Sequence[str]) -> Tensor:
    """Reorder the columns of ``weight`` (3 D, D) from ``order`` to the order of ``dims``."""
    parts = dict(zip(order, torch.split(weight, [dims[m] for m in order], dim=1), strict=True))
    return torch.cat([parts[m] for m in dims], dim=1)


def _prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """Return the prefix of every name of ``own`` in ``tensors``; None if they are not all there."""
    first = next(iter(own), None)
    if first is None:
        return None
    candidates = [name.removesuffix(first) for name in tensors if name.endswith(first)]
    whole = [p for p in candidates if all(p + n in tensors and tensors[p + n].shape == t.shape for n, t in own.items())]
    return whole[0] if whole else None


def _modules(names: Iterable[str]) -> tuple[str, ...]:
    return natural_order(name.rpartition(".")[0] for name in names)


def _count(file: Path, what: tuple[str, str], expected: str, found: Sequence[str], count: int) -> None:
    if len(found) != count:
        names = ", ".join(found[:4]) or "none"
        raise ConfigError.at(file, expected=f"{what[0]} with {expected}", found=names, remedy=what[1])


def _all_used(file: Path, what: tuple[str, str], tensors: Mapping[str, Tensor], used: set[str]) -> None:
    unused = [name for name in tensors if name not in used]
    if unused:
        raise tensor_error(file, f"only tensors of {what[0]}", f"the unused tensor {unused[0]!r}", unused, what[1])
