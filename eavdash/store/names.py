"""The checkpoints folder, and valid names of studies, subjects and files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from eavdash.errors import UsageError
from eavdash.text import shortened

#: Characters of a :func:`slug`; file systems allow 255 bytes, and stage, fold, seed or method are added.
LONGEST = 200


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder in place of ``~``; where no user has the name after it, it stays."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 -- Path.expanduser raises if there is no such user


def checkpoints_root(given: str | Path | None = None) -> Path:
    """Return the folder of all studies: the argument, ``EAVDASH_CHECKPOINTS`` or ``./checkpoints``; absolute."""
    return expanded(given or os.environ.get("EAVDASH_CHECKPOINTS") or "checkpoints").resolve()


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
    """Return a name for a path (letters, digits, dot, dash, underscore), of at most :data:`LONGEST` characters.

    A text that is such a name stays as it is. Different texts get different names, except those made to collide.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "x"
    if safe == text and len(text) <= LONGEST:
        return safe
    # Two texts may map to the same name ("a b", "a/b"): a few digits of a hash distinguish them.
    return f"{safe[: LONGEST - 7]}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def unit_name(subject: str) -> str:
    """Return a subject's part of a run name: ``s01`` for integers, ``s-<slug>`` otherwise."""
    number = len(subject) <= LONGEST and re.fullmatch(r"0|[1-9]\d*", subject)
    return f"s{int(subject):02d}" if number else f"s-{slug(subject)}"


def check_unit_names(subjects: Iterable[str]) -> None:
    """Check that no two subjects get the same :func:`unit_name`, by which their files are told apart.

    Raises:
        UsageError: two do.
    """
    units: dict[str, str] = {}
    for subject in dict.fromkeys(subjects):
        other = units.setdefault(unit_name(subject), subject)
        if other != subject:
            raise UsageError.at(
                f"subject {shortened(subject)!r}",
                expected="a name whose files no other subject has",
                found=f"{unit_name(subject)!r}, which is also that of {shortened(other)!r}",
                remedy="rename one of the two",
            )


def check_study_name(name: str) -> str:
    """Return ``name`` if it is a valid folder name for a study.

    Raises:
        UsageError: it is empty, too long, hidden, or has characters that are unsafe in a path.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UsageError.at(
            "study name",
            expected="at most 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit",
            found=repr(shortened(name)),
            remedy="choose another name",
        )
    return name
