"""Where studies lie, and what they, their subjects and files may be called."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from eavdash.errors import UsageError


def checkpoints_root(given: str | Path | None = None) -> Path:
    """Where studies live: the argument, else ``EAVDASH_CHECKPOINTS``, else ``./checkpoints``; absolute."""
    return Path(given or os.environ.get("EAVDASH_CHECKPOINTS") or "checkpoints").expanduser().resolve()


def checkpoints_folder(given: str | Path | None = None) -> Path:
    """:func:`checkpoints_root`, which need not be there yet, but must be no file.

    Raises:
        UsageError: it is one, or lies in one.
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
    """A name that is safe in a path: letters, digits, dot, dash and underscore, and unique per text."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "x"
    # Two texts may flatten to the same name ("a b", "a/b"): a few digits of a hash keep them apart.
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def unit_name(subject: str) -> str:
    """The run-name part of a subject: ``s01`` for integers, ``s-<slug>`` otherwise."""
    return f"s{int(subject):02d}" if re.fullmatch(r"0|[1-9]\d*", subject) else f"s-{slug(subject)}"


def check_study_name(name: str) -> str:
    """``name`` if it can be a study's folder.

    Raises:
        UsageError: it is empty, hidden, or has characters that are unsafe in a path.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UsageError.at(
            "study name",
            expected="letters, digits, dots, dashes and underscores, beginning with a letter or digit",
            found=repr(name),
            remedy="choose another name",
        )
    return name
