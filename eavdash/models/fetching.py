"""Download of pretrained weights from the Hugging Face hub on request, pinned to a commit and verified by checksum.

In: ``OWNER/NAME`` and the full hash of a commit. Branches and tags are refused because they can move.
Out: a folder with config.json, the weights and SHA256SUMS, suitable for ``vision.weights`` and ``audio.weights``.
Loading verifies the weights against SHA256SUMS (models/tensorfiles.py). huggingface_hub does the transfer and reads its
environment variables (``HF_ENDPOINT``, ``HF_TOKEN``); nothing else in the program uses the network.

Files are assembled in a temporary folder beside the final one, which is then renamed: the result is complete or absent.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from eavdash.errors import DataError, IntegrityError, UsageError
from eavdash.store.atomic import CHECKSUMS, sha256, write_atomic
from eavdash.store.names import expanded

#: In order of preference; a .bin file is loaded without unpickling objects.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"


@dataclass(frozen=True)
class Fetched:
    """A downloaded checkpoint."""

    folder: Path
    file: str  # name of the weights
    sha256: str  # of the weights


def fetch(
    model: str, revision: str, checksum: str | None = None, out: str | Path | None = None, endpoint: str | None = None
) -> Fetched:
    """Download ``model`` at ``revision`` into ``out`` (default: ``weights/OWNER--NAME``).

    Args:
        checksum: expected SHA-256 of the weights, in hex.
        endpoint: URL of the hub, if it is not ``HF_ENDPOINT``.

    Raises:
        UsageError: the name, revision or checksum is malformed, or the folder exists.
        DataError: the hub cannot be reached, or does not have the files.
        IntegrityError: the weights have another checksum; nothing is kept.
    """
    _check(model, revision, checksum)
    folder = expanded(out or Path("weights") / model.replace("/", "--")).resolve()
    if folder.exists():
        raise UsageError.at(
            folder, expected="a new folder", found="an existing one", remedy="delete it or choose another --out"
        )
    with UsageError.from_os(folder, expected="a writable folder", remedy="choose another --out"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
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
                remedy="check which of the two is right before using this model; nothing was kept",
            )
        shutil.move(path, ready / name)
        lines = "".join(f"{sha256(ready / n)}  {n}\n" for n in (CONFIG, name))
        write_atomic(ready / CHECKSUMS, lambda file: file.write(lines.encode()))
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
            expected="the 40 hexadecimal digits of a commit (branches and tags can move)",
            found=repr(revision),
            remedy=f"copy it from the commit history of {model}",
        )
    if checksum and not re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
        raise UsageError.at(
            "--sha256", expected="64 hexadecimal digits", found=repr(checksum), remedy="give the output of sha256sum"
        )


def _weights(model: str, revision: str, folder: Path, endpoint: str | None) -> tuple[str, Path]:
    """Download the weights; return their file name and path."""
    from huggingface_hub.errors import EntryNotFoundError

    for name in WEIGHTS:
        try:
            return name, _download(model, name, revision, folder, endpoint)
        except DataError as error:
            if not isinstance(error.__cause__, EntryNotFoundError) or name == WEIGHTS[-1]:
                raise
    raise AssertionError  # the loop returns or raises


def _download(model: str, name: str, revision: str, folder: Path, endpoint: str | None) -> Path:
    """Download one file of the hub into ``folder``.

    Raises:
        DataError: the file is not available; the cause is huggingface_hub's error.
    """
    from huggingface_hub import errors, hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    where = f"{model} at {revision[:12]}"
    try:
        return Path(hf_hub_download(model, name, revision=revision, local_dir=folder, endpoint=endpoint))
    except errors.LocalEntryNotFoundError as error:  # its cause is the failed transfer
        raise _hub_error(where, name, error) from error
    except errors.EntryNotFoundError as error:
        raise DataError.at(
            where, expected=f"a file {name}", found="none", remedy="choose a revision that has it"
        ) from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]  # of the HTTP library it uses
        raise _hub_error(where, name, error) from error


def _hub_error(where: str, name: str, error: BaseException) -> Exception:
    """Return the error for a request that the hub refused or did not answer."""
    while error.__cause__ is not None and not hasattr(error, "response"):
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        found = f"status {status}" + (": no such model or revision, or no access" if status < 500 else "")
        return DataError.at(
            where, expected=f"{name} from the hub", found=found, remedy="check OWNER/NAME, the revision and HF_TOKEN"
        )
    return DataError.at(
        where,
        expected="a response from the hub",
        found=" ".join(str(error).split())[:200] or type(error).__name__,
        remedy="check the network connection, or copy the files to a folder and set vision.weights to it",
    )
