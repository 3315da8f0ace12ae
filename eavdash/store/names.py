"""The checkpoints folder, and valid names of studies, subjects and files."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from eavdash.errors import UsageError


def checkpoints_root(given: str | Path | None = None) -> Path:
    """Return the folder of all studies: the argument, ``EAVDASH_CHECKPOINTS`` or ``./checkpoints``; absolute."""
    return Path(given or os.environ.get("EAVDASH_CHECKPOINTS") or "checkpoints").expanduser().resolve()


def checkpoints_folder(given: str | Path | None = None) -> Path:
    """Return :func:`checkpoints_root`, which need not exist yet.

    Raises:
        UsageError: it is a file, or one of its parents is.
    """
    root = checkpoints_root(given)
    for path in (root, *root.parents):
        if os.path.isdir(path):  # noqa: PTH112 - raises nothing
            break
        if os.path.exists(path):  # noqa: PTH110 - raises nothing
            remedy = "choose another with --checkpoints, or with EAVDASH_CHECKPOINTS"
            raise UsageError.at(path, expected="a folder for studies", found="a file", remedy=remedy)
    return root


def slug(text: str) -> str:
    """Return a name that is safe in a path (letters, digits, dot, dash, underscore) and unique to the text."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "x"
    # Two texts may map to the same name ("a b", "a/b"): a few digits of a hash distinguish them.
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def unit_name(subject: str) -> str:
    """Return a subject's part of a run name: ``s01`` for integers, ``s-<slug>`` otherwise."""
    return f"s{int(subject):02d}" if re.fullmatch(r"0|[1-9]\d*", subject) else f"s-{slug(subject)}"


def check_study_name(name: str) -> str:
    """Return ``name`` if it is a valid folder name for a study.

    Raises:
        UsageError: it is empty, too long, hidden, or has characters that are unsafe in a path.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UsageError.at(
            "study name",
            expected="letters, digits, dots, dashes and underscores, beginning with a letter or digit",
            found=repr(name),
            remedy="choose another name",
        )
    return name
