"""What can go wrong, as few types as there are things to do about it.

```
EavdashError                 exit code 1: the work failed
├── DataError                recordings or their table cannot be used as they are
│   ├── TableError           the trial table or the dataset's layout
│   └── RecordingError       one file (unreadable, truncated, NaN, wrong shape ...)
├── SplitError               a protocol cannot be carried out on these trials
├── TrainingError            the computation failed (non-finite loss, disk full ...)
├── IntegrityError           a file of a study is damaged (checksum, truncated)
├── QueueError               the queue or a process of it cannot do what was asked
└── UsageError               exit code 2: the request itself is wrong
    ├── ConfigError          an unknown or impossible setting
    └── StudyConflictError     the study's name is taken by another configuration
```

Every message is one sentence that says where, what was expected, what was found and what to do; :func:`sentence`
puts the four together so that they read alike everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self


def sentence(where: str | Path, expected: str, found: str, remedy: str) -> str:
    """One sentence naming the place, the expectation, the finding and the remedy."""
    return f"{where}: expected {expected}, found {found}; {remedy}."


class EavdashError(Exception):
    """Base of every error that a user can act on; its text is shown as it is, without a traceback.

    ``where``, ``expected``, ``found`` and ``remedy`` hold the parts of the message; empty for an error that was not
    made by :meth:`at`.
    """

    exit_code = 1
    where: str = ""
    expected: str = ""
    found: str = ""
    remedy: str = ""

    @classmethod
    def at(cls, where: str | Path, *, expected: str, found: str, remedy: str) -> Self:
        """The error of this type whose message is :func:`sentence` of the four parts."""
        error = cls(sentence(where, expected, found, remedy))
        error.where, error.expected, error.found, error.remedy = str(where), expected, found, remedy
        return error


class DataError(EavdashError):
    """Recordings or their table cannot be used as they are."""


class TableError(DataError):
    """The trial table, or the folder layout it is made from, is wrong."""


class RecordingError(DataError):
    """One recording cannot be read or does not hold what it should."""


class SplitError(EavdashError):
    """A protocol cannot be carried out on these trials."""


class TrainingError(EavdashError):
    """The computation of a run failed."""


class IntegrityError(EavdashError):
    """A file of a study is damaged."""


class QueueError(EavdashError):
    """The queue cannot do what was asked."""


class UsageError(EavdashError):
    """The request is wrong: nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """An unknown or impossible setting."""


class StudyConflictError(UsageError):
    """A study of this name exists with another configuration.

    ``differences``: what differs, one sentence each (``key: old → new``); empty where something else stands against it.
    """

    differences: tuple[str, ...] = ()
