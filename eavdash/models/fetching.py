"""Weights from the Hugging Face hub, when a user asks for them: one revision, one checksum, whole or not there.

In: ``OWNER/NAME`` and the full hash of a commit. A branch or a tag is refused, as it may be another model tomorrow.
Out: a folder with config.json, the weights and SHA256SUMS, as ``vision.weights`` and ``audio.weights`` take it; who
loads the weights compares them with SHA256SUMS (models/tensorfiles.py). The transfer itself is huggingface_hub's, which
also reads its environment variables (``HF_ENDPOINT``, ``HF_TOKEN``); nothing else in the program uses the network.

Everything is put together in a folder of a temporary name beside the final one and then renamed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from eavdash.errors import DataError, IntegrityError, UsageError
from eavdash.store.atomic import CHECKSUMS, sha256

#: In this order of preference; nothing in a .bin is unpickled when it is loaded.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"


@dataclass(frozen=True)
class Fetched:
    """What lies in ``folder`` now."""

    folder: Path
    file: str  # name of the weights
    sha256: str  # of the weights


def fetch(
    model: str, revision: str, checksum: str | None = None, out: str | Path | None = None, endpoint: str | None = None
) -> Fetched:
    """Fetch ``model`` at ``revision`` into ``out`` (default: ``weights/OWNER--NAME``).

    Args:
        checksum: SHA-256 that the weights must have, in hex.
        endpoint: of the hub, where it is not ``HF_ENDPOINT``.

    Raises:
        UsageError: a name, revision or checksum that cannot be; or the folder exists.
        DataError: the hub cannot be reached, or does not have it.
        IntegrityError: the weights have another checksum. Nothing is kept.
    """
    _check(model, revision, checksum)
    folder = Path(out or Path("weights") / model.replace("/", "--")).expanduser().resolve()
    if folder.exists():
        raise UsageError.at(
            folder, expected="a folder that is not there yet", found="one", remedy="delete it or choose another --out"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UsageError.at(
            folder, expected="a place that can be written", found=error.strerror or str(error), remedy="choose --out"
        ) from error
    try:
        ready = part / "ready"
        ready.mkdir()
        loaded = part / "loaded"
        shutil.move(_download(model, CONFIG, revision, loaded, endpoint), ready / CONFIG)
        name, path = _weights(model, revision, loaded, endpoint)
        found = sha256(path)
        if checksum and found != checksum.lower():
            raise IntegrityError.at(
                f"{model}, {name} at {revision[:12]}",
                expected=f"checksum {checksum.lower()}",
                found=found,
                remedy="nothing was kept; find out which of the two is right before you use this model",
            )
        shutil.move(path, ready / name)
        lines = [f"{sha256(ready / n)}  {n}\n" for n in (CONFIG, name)]
        with (ready / CHECKSUMS).open("w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        ready.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Fetched(folder, name, found)


def _check(model: str, revision: str, checksum: str | None) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise UsageError.at("model", expected="OWNER/NAME", found=repr(model), remedy="copy it from the model's page")
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise UsageError.at(
            "--revision",
            expected="the 40 hexadecimal digits of a commit (a branch or a tag may change)",
            found=repr(revision),
            remedy=f"copy it from the history of {model}",
        )
    if checksum and not re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
        raise UsageError.at(
            "--sha256", expected="64 hexadecimal digits", found=repr(checksum), remedy="as sha256sum prints it"
        )


def _weights(model: str, revision: str, folder: Path, endpoint: str | None) -> tuple[str, Path]:
    """The weights' name and where they were put."""
    from huggingface_hub.errors import EntryNotFoundError

    for name in WEIGHTS:
        try:
            return name, _download(model, name, revision, folder, endpoint)
        except DataError as error:
            if not isinstance(error.__cause__, EntryNotFoundError) or name == WEIGHTS[-1]:
                raise
    raise AssertionError  # the loop returns or raises


def _download(model: str, name: str, revision: str, folder: Path, endpoint: str | None) -> Path:
    """One file of the hub, in ``folder``.

    Raises:
        DataError: it cannot be had; the cause is huggingface_hub's error.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    place = f"{model} at {revision[:12]}"
    try:
        return Path(hf_hub_download(model, name, revision=revision, local_dir=folder, endpoint=endpoint))
    except LocalEntryNotFoundError as error:  # what went wrong on the way is its cause
        raise _refused(place, name, error) from error
    except EntryNotFoundError as error:
        raise DataError.at(
            place, expected=f"a file {name}", found="none", remedy="look at its files and choose another revision"
        ) from error
    except (HTTPError, OSError) as error:
        raise _refused(place, name, error) from error


def _refused(place: str, name: str, error: BaseException) -> Exception:
    """The error that says whether the hub refused, or did not answer."""
    while error.__cause__ is not None and not hasattr(error, "response"):
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        found = f"status {status}" + (": no such model or revision, or not for everybody" if status < 500 else "")
        return DataError.at(
            place, expected=f"{name} from the hub", found=found, remedy="check OWNER/NAME, the revision and HF_TOKEN"
        )
    return DataError.at(
        place,
        expected="an answer of the hub",
        found=" ".join(str(error).split())[:200] or type(error).__name__,
        remedy="check the network, or copy the files here by hand and give their folder as vision.weights",
    )
