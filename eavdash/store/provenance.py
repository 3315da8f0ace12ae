"""Provenance of a result: the versions of the libraries and the commit of the code that computed it."""

from __future__ import annotations

import importlib.metadata
import subprocess
from contextlib import suppress
from pathlib import Path

from eavdash import __version__

VERSIONS_OF = ("torch", "torchvision", "torchaudio", "timm", "captum", "mne", "numpy", "pandas", "av", "soundfile")


def versions() -> dict[str, str]:
    """Return the version of every installed package that a result depends on."""
    found = {"eavdash": __version__}
    for package in VERSIONS_OF:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def git_commit() -> str:
    """Return the commit of this package's checkout, with "+" if files were modified; empty outside git."""
    here = Path(__file__).resolve().parent
    try:
        done = [
            subprocess.run(["git", "-C", str(here), *command], capture_output=True, text=True, timeout=10, check=True)
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return done[0].stdout.strip() + ("+" if done[1].stdout.strip() else "")
