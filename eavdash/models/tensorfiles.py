"""Tensors by name from a checkpoint file, read without unpickling objects.

In: a folder with model.safetensors or pytorch_model.bin, in one file or in shards with an index, or with a single such
file (.safetensors, .bin, .pt, .pth), or that file. Out: its tensors, without the prefixes of wrappers around the model,
and the config.json beside it. Newer releases of transformers name the same tensors differently in memory
(``layers.0.attention.q_proj``); both names are read.

If there is a SHA256SUMS beside the file (eavdash fetch-weights writes it), the file must match it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from eavdash.config.limits import HEADER_BYTES, WEIGHTS_BYTES
from eavdash.errors import ConfigError, IntegrityError
from eavdash.store.atomic import CHECKSUMS, sha256
from eavdash.store.quoting import reason_of
from eavdash.store.readable import check_readable, open_readable
from eavdash.store.regular import require_regular

INDEX = ".index.json"  # of a sharded checkpoint: maps tensors to files
FILES = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
    "pytorch_model.pt",
)
#: Names in the memory of transformers 5 → names in the files.
_IN_MEMORY = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_WRAPPERS = ("module.", "model.", "_orig_mod.")  # of DataParallel, of a class around the model, of torch.compile
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_SAVE_AGAIN = "save the state_dict again, or fetch the checkpoint again"
_NESTED = ("state_dict", "model_state_dict", "model_state", "model")


def read_tensors(path: Path, *, values: bool = True) -> tuple[Path, dict[str, Tensor]]:
    """Return the checkpoint file that ``path`` names or contains (the index of a sharded one), and its tensors by name.

    Without ``values`` the tensors are on the device "meta", and of most files only the headers are read.

    Raises:
        ConfigError: it cannot be read, or contains anything but tensors.
        IntegrityError: it does not match its SHA256SUMS (only checked with ``values``).
    """
    file = path
    if path.is_dir():
        usual = [path / name for name in FILES if (path / name).is_file()]
        check_readable(path)
        only = [] if usual else [found for found in path.iterdir() if found.suffix in _SUFFIXES]
        file = next(iter(usual), only[0] if len(only) == 1 else path / FILES[0])
    return file, unwrap(_parts(file, values) if file.name.endswith(INDEX) else _read(file, values))


def _read(file: Path, values: bool) -> dict[str, Tensor]:
    """Return the tensors of one file under its own names."""
    check_readable(file)
    _check_size(file)
    if values:
        _verify(file)
    found = _load(file, mapped=not values)
    return found if values else {name: tensor.to("meta") for name, tensor in found.items()}


def _load(file: Path, mapped: bool) -> dict[str, Tensor]:
    """Return the tensors of one file; ``mapped``: in memory that is read when it is used, if the format allows it."""
    try:
        if file.suffix == ".safetensors":
            return load_file(require_regular(file))  # mapped in any case
        if mapped and zipfile.is_zipfile(require_regular(file)):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        else:
            with open_readable(file) as opened:
                content = torch.load(opened, map_location="cpu", weights_only=True)
    except Exception as error:  # readers raise all kinds of errors for damaged or foreign files
        found = reason_of(error, file)[:200]
        if file.suffix != ".safetensors" and not isinstance(error, OSError):
            # Torch's message is about internals, or advises unpickling the file.
            found = "a damaged file, or one with other objects than tensors"
        raise ConfigError.at(
            file,
            expected="weights as .safetensors, .bin or .pt",
            found=found,
            remedy="give the folder or file of a Hugging Face checkpoint",
        ) from error
    if isinstance(content, dict):  # a training script's checkpoint: the weights beside an optimiser's state
        content = next((content[k] for k in _NESTED if isinstance(content.get(k), dict)), content)
    if not isinstance(content, dict) or not all(
        isinstance(n, str) and isinstance(t, Tensor) for n, t in content.items()
    ):
        raise ConfigError.at(
            file,
            expected="a dictionary of tensors by name",
            found=type(content).__name__,
            remedy="save only the state_dict",
        )
    for name, tensor in content.items():  # a view can repeat one number any number of times
        dense = tensor.layout is torch.strided
        if not dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise tensor_error(file, "every number in the file", f"{name!r} of fewer ones", [], _SAVE_AGAIN)
    return content


def _check_size(file: Path) -> None:
    """Check the size that a file declares, before it is read.

    Raises:
        ConfigError: it is larger than any encoder, or unfolds to more than it has.
    """
    most, found = WEIGHTS_BYTES, 0
    # Whatever cannot be read is reported by the reader.
    with contextlib.suppress(OSError, zipfile.BadZipFile, ValueError), open_readable(file) as opened:
        size = found = os.fstat(opened.fileno()).st_size
        if file.suffix == ".safetensors" and size <= most:
            most, found = HEADER_BYTES, int.from_bytes(opened.read(8), "little")
        elif file.name.endswith(INDEX):
            most = HEADER_BYTES
        elif size <= most and zipfile.is_zipfile(opened):
            # Torch stores tensors uncompressed.
            with zipfile.ZipFile(opened) as parts:
                most, found = size, sum(part.file_size for part in parts.infolist())
    if found > most:
        what = "a header" if most == HEADER_BYTES else "weights"
        expected, what = f"{what} of at most {most:,} bytes", f"{found:,} declared"
        raise ConfigError.at(file, expected=expected, found=what, remedy=_SAVE_AGAIN)


def _parts(index: Path, values: bool) -> dict[str, Tensor]:
    """Return the tensors of a sharded checkpoint, each of which must be in the file that the index names."""
    _check_size(index)
    if values:
        _verify(index)
    remedy = "fetch all files of the checkpoint again"
    try:
        with open_readable(index) as file:
            listed = dict(json.loads(file.read(HEADER_BYTES))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError.at(index, expected="a weight_map", found=reason_of(error, index), remedy=remedy) from error
    found: dict[str, Tensor] = {}
    for name in sorted({str(part) for part in listed.values()}):
        if Path(name).name != name or name.endswith(INDEX):
            raise ConfigError.at(index, expected="names of files in the same folder", found=repr(name), remedy=remedy)
        for tensor, value in _read(index.parent / name, values).items():
            if listed.get(tensor) != name:
                raise tensor_error(
                    index, "every tensor in the file that the index names", f"{tensor!r} in {name}", [], remedy
                )
            found[tensor] = value
    if missing := sorted(set(listed) - set(found)):
        raise tensor_error(
            index, "every tensor in the file that the index names", f"no tensor {missing[0]!r}", missing, remedy
        )
    return found


def unwrap(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove wrapper prefixes that all names share, and return the tensors under the names used in files."""
    found = dict(tensors)
    while found and (prefix := next((p for p in _WRAPPERS if all(n.startswith(p) for n in found)), "")):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return {_file_name(name): tensor for name, tensor in found.items()}


def without_prefix(tensors: Mapping[str, Tensor], wanted: Container[str]) -> dict[str, Tensor]:
    """Remove the prefix that classes around a model left before most of the names that ``wanted`` has.

    Names without it, such as those of a head beside the model, stay as they are.
    """
    votes = Counter(
        name[:start]
        for name in tensors
        for start in (0, *(dot.end() for dot in re.finditer(r"\.", name)))
        if name[start:] in wanted
    )
    prefix = max(votes, key=lambda found: (votes[found], -len(found)), default="")
    plain = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return plain if len(plain) == len(tensors) else dict(tensors)


def _file_name(name: str) -> str:
    layer = re.fullmatch(r"((?:.*\.)?(?:vit|audio_spectrogram_transformer)\.|)layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if not layer:
        return name
    return f"{layer[1]}encoder.layer.{layer[2]}.{_IN_MEMORY.get(layer[3], layer[3])}.{layer[4]}"


def _verify(file: Path) -> None:
    """Verify the file against the SHA256SUMS beside it, if there is one.

    Raises:
        IntegrityError: the checksum differs.
    """
    sums = file.parent / CHECKSUMS
    try:
        with open_readable(sums) as opened:
            lines = opened.read(HEADER_BYTES).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        remedy = "fetch the weights again"
        raise IntegrityError.at(
            sums, expected="checksums", found=error.strerror or str(error), remedy=remedy
        ) from error
    expected = {name.strip().lstrip("*"): digest for digest, _, name in (line.partition(" ") for line in lines)}
    if file.name in expected and (found := sha256(file)) != expected[file.name].lower():
        raise IntegrityError.at(
            file,
            expected=f"checksum {expected[file.name][:12]} as in {CHECKSUMS}",
            found=f"{found[:12]}",
            remedy="fetch the weights again",
        )


def read_settings(file: Path) -> dict[str, Any]:
    """Return the config.json beside a checkpoint, empty if there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    path = file.parent / "config.json"
    try:
        with open_readable(path) as opened:
            settings = json.loads(opened.read(HEADER_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError.at(
            path,
            expected="the checkpoint's settings as JSON",
            found=reason_of(error, path),
            remedy="fetch the checkpoint again",
        ) from error
    return settings if isinstance(settings, dict) else {}


def tensor_error(file: Path, expected: str, found: str, names: list[str], remedy: str) -> Exception:
    """Return the error about the wrong tensors ``names`` of a file; ``found`` names the first of them."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return ConfigError.at(file, expected=expected, found=found + more, remedy=remedy)
