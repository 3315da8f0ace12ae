"""Weights that come inside an installed package: those of the speaker encoder in Resemblyzer (Apache-2.0).

In: the names of an encoder and of the user's own weights. Out: the file to load. Nothing of the package is imported,
nor is what it needs itself (librosa, webrtcvad): its file is found through its metadata and checked by SHA-256.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata
from pathlib import Path

from eavdash.config.choices import PACKAGED
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.store.atomic import sha256

PACKAGE, VERSION = "Resemblyzer", "0.1.4"
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION}"
_FILE = "resemblyzer/pretrained.pt"
_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"


def is_pretrained(config: StudyConfig, modality: str) -> bool:
    """Return True if the encoder of a modality starts from pretrained weights, the user's own or packaged ones."""
    part = config.modality(modality)
    return bool(part.weights) or part.encoder in PACKAGED


def weights_path(config: StudyConfig, modality: str) -> str:
    """Return the path of the weights with which an encoder starts; "" if it is trained from scratch.

    Raises:
        ConfigError: they come inside a package that is not installed, or whose file is another one.
    """
    part = config.modality(modality)
    return part.weights or (str(voice_weights()) if part.encoder in PACKAGED else "")


def voice_weights() -> Path:
    """Return the file of the speaker encoder's weights in the installed package.

    Raises:
        ConfigError: the package is not installed, or its file is missing or another one.
    """
    remedy = f"run: {INSTALL} (or set audio.weights to a copy of its pretrained.pt)"
    try:
        listed = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise ConfigError.at(
            "audio.encoder=voice",
            expected=f"the package {PACKAGE}, which contains the weights",
            found="that it is not installed",
            remedy=remedy,
        ) from None
    file = next((Path(str(entry.locate())) for entry in listed if entry.as_posix() == _FILE), None)
    found = _checksum(file) if file is not None else "no such file"
    if file is None or found != _SHA256:
        raise ConfigError.at(
            "audio.encoder=voice",
            expected=f"{_FILE} of {PACKAGE} {VERSION} with checksum {_SHA256[:12]}",
            found=found[:12],
            remedy=remedy.replace("install", "install --force-reinstall"),
        )
    return file


def _checksum(file: Path) -> str:
    try:
        stat = file.stat()
        return _remembered(file, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        return error.strerror or str(error)


@lru_cache(maxsize=4)
def _remembered(file: Path, changed: int, size: int) -> str:
    return sha256(file)
