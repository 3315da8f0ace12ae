"""Error types: one for each kind of remedy.

```
EavdashError                 exit code 1: the work failed
├── DataError                recordings or their table cannot be used
│   ├── TableError           the trial table or the dataset's layout
│   ├── RecordingError       one file (unreadable, truncated, NaN, wrong shape ...)
│   │   └── ChannelsError    its channels are not those of a known EEG system
│   └── OutsideError         a file or folder that may not be read, as a table or as a recording
├── SplitError               a protocol cannot be applied to these trials
├── TrainingError            the computation failed (non-finite loss, disk full ...)
├── IntegrityError           a file of a study is damaged (checksum, truncated)
│   └── VersionError         it was written by a later version of eavdash
├── QueueError               the queue or one of its processes cannot do what was requested
└── UsageError               exit code 2: the request itself is wrong
    ├── ConfigError          an unknown or invalid setting
    └── StudyConflictError   the study's name is taken by another configuration
```

Every message is one sentence: where, what was expected, what was found, and the remedy. :func:`sentence` joins the
four parts, so that all messages read alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

#: Characters of the place that a message names.
LONGEST = 1000


def sentence(where: str | Path, expected: str, found: str, remedy: str) -> str:
    """Return the message made of the four parts; a path of thousands of characters is cut."""
    named = str(where)
    named = named if len(named) <= LONGEST else f"{named[:LONGEST]}..."
    # What a library reports may be a sentence with its own full stop.
    found, remedy = (text if text.endswith("..") else text.removesuffix(".") for text in (found, remedy))
    return f"{named}: expected {expected}, found {found}; {remedy}."


class EavdashError(Exception):
    """Base class of every error that a user can act on; its text is shown without a traceback.

    ``where``, ``expected``, ``found`` and ``remedy`` hold the parts of the message; they are empty if the error was
    not made by :meth:`at`.
    """

    exit_code = 1
    where: str = ""
    expected: str = ""
    found: str = ""
    remedy: str = ""

    @classmethod
    def at(cls, where: str | Path, *, expected: str, found: str, remedy: str) -> Self:
        """Return an error of this type whose message is the :func:`sentence` of the four parts."""
        error = cls(sentence(where, expected, found, remedy))
        error.where, error.expected, error.found, error.remedy = str(where), expected, found, remedy
        return error

    @classmethod
    @contextmanager
    def from_os(cls, where: str | Path, *, expected: str, remedy: str) -> Iterator[None]:
        """Raise an error of this type for an OSError in the block; what the system reports is what was found."""
        try:
            yield
        except OSError as error:
            raise cls.at(where, expected=expected, found=error.strerror or str(error), remedy=remedy) from error


class DataError(EavdashError):
    """Recordings or their table cannot be used."""


class TableError(DataError):
    """The trial table, or the folder layout that it is built from, is wrong."""


class RecordingError(DataError):
    """One recording cannot be read or has unexpected content."""


class ChannelsError(RecordingError):
    """A recording's channels are not known well enough to choose among them."""


class OutsideError(TableError, RecordingError):
    """A file or folder lies outside of those that may be read (:mod:`eavdash.store.readable`).

    ``folder``: the folder that would have to be allowed; empty where nothing can be.
    """

    folder: str = ""


class SplitError(EavdashError):
    """A protocol cannot be applied to these trials."""


class TrainingError(EavdashError):
    """The computation of a run failed."""


class IntegrityError(EavdashError):
    """A file of a study is damaged."""


class VersionError(IntegrityError):
    """A file of a study was written by a later version of eavdash."""


class QueueError(EavdashError):
    """The queue cannot do what was requested."""


class UsageError(EavdashError):
    """The request is wrong: nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """An unknown or invalid setting."""


class StudyConflictError(UsageError):
    """A study of this name exists with another configuration.

    ``differences``: one entry per setting that differs (``key: old → new``); empty for any other conflict.
    """

    differences: tuple[str, ...] = ()
