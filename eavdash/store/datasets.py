"""The named datasets of a checkpoints folder.

``.datasets.json`` maps names to paths; an uploaded table is kept as ``.datasets/<name>/trials.csv`` with absolute
paths. The recordings themselves are never copied, written or removed. The list is replaced atomically and under a lock,
so that concurrent additions are all kept. List and tables are private (:mod:`eavdash.store.private`).

A dataset's folders carry a seal, a keyed digest by a secret of this user: the app reads them without asking, and a list
that was copied from elsewhere must not decide that.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import hmac
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from eavdash.errors import TableError, UsageError
from eavdash.store import slug
from eavdash.store.atomic import file_lock, write_atomic
from eavdash.store.names import expanded
from eavdash.store.private import private_folder
from eavdash.store.record import UNWRITTEN, FromList, Part, Record, Texts, read_record, write_record
from eavdash.store.secret import user_secret
from eavdash.text import is_utf8, printable

#: The columns of a trial table that name files.
PATH_COLUMNS = ("eeg", "audio", "video")
NAME_LENGTH = 60
SECRET = "dataset-secret"


Text = Annotated[str, Field(min_length=1)]


class Dataset(Part):
    """Name and absolute path of a dataset folder or trial table.

    ``folders``: its own and further folders that its recordings lie in, which the app may read; None in a list of an
    earlier version. ``seal``: of path and folders; without it the folders are not trusted.
    """

    name: Text
    path: Text
    folders: Texts | None = UNWRITTEN
    seal: str | None = UNWRITTEN

    @property
    def trusted(self) -> tuple[str, ...]:
        """The folders that the app may read; none if they were not sealed on this machine, or without those that links
        have replaced since."""
        if not self.seal or not hmac.compare_digest(self.seal.encode(), _seal(self.path, self.folders or ()).encode()):
            return ()
        return tuple(folder for folder in self.folders or () if os.path.realpath(folder) == folder)


class DatasetList(Record):
    """The content of ``.datasets.json``."""

    model_config = ConfigDict(title="the list of datasets")

    datasets: Annotated[tuple[Dataset, ...], FromList]


def list_file(root: Path) -> Path:
    """Return the path of the list in a checkpoints folder."""
    return root / ".datasets.json"


def list_datasets(root: Path) -> list[Dataset]:
    """Return the datasets of a checkpoints folder, sorted by name; empty if there is no list that this user may read.

    Raises:
        IntegrityError: the list is damaged.
    """
    if os.path.lexists(list_file(root)) and not os.access(list_file(root), os.R_OK):
        return []
    return sorted(_read(root).datasets, key=lambda d: d.name.casefold())


def check_name(root: Path, name: str) -> str:
    """Return ``name`` if a new dataset may have it.

    Raises:
        UsageError: it is empty, too long, holds a slash or a control character, begins with a dot, or is taken.
        IntegrityError: the list is damaged.
    """
    if not name or len(name) > NAME_LENGTH or name != name.strip() or not name.isprintable():
        found = repr(name) if name else "none"
        raise _name_error(f"1 to {NAME_LENGTH} printable characters", found, "" if name else "enter a name")
    if name[0] == "." or any(c in name for c in "/\\"):
        raise _name_error("a name without slashes and without a leading dot", repr(name))
    for other in list_datasets(root):
        if other.name.casefold() == name.casefold():
            raise _name_error("a name that is not in the list", f"{other.name!r} for {other.path}")
    return name


def add(root: Path, name: str, path: str | Path, folders: Iterable[str] | None = None) -> Dataset:
    """Add a dataset to the list, with the resolved folders of its recordings, which the app may read from then on.

    Raises:
        UsageError: the name is invalid or taken, or the path is in the list under another name.
        IntegrityError: the list is damaged; it is not changed.
        TrainingError: the checkpoints folder is not writable.
    """
    absolute = str(expanded(path).absolute())
    with _locked(root):
        for folder in folders or ():
            _check_storable(folder)
        made = Dataset(name=check_name(root, name), path=check_path(root, absolute))
        if folders is not None:
            made = _sealed(made, folders)
        _write(root, [*list_datasets(root), made])
    return made


def keep_folders(root: Path, name: str, folders: Iterable[str]) -> None:
    """Write the folders of a dataset's recordings into a list whose own are not trusted (:attr:`Dataset.trusted`).

    Raises:
        IntegrityError: the list is damaged. UsageError: it is not writable.
    """
    with _locked(root):
        every = list_datasets(root)
        kept = [_sealed(d, folders) if d.name == name and not d.trusted else d for d in every]
        if kept != every:
            _write(root, kept)


def check_path(root: Path, path: str) -> str:
    """Return ``path`` if it is not in the list yet.

    Raises:
        UsageError: it is in the list, and the message gives its name; or it cannot be written into one.
    """
    _check_storable(path)
    for other in list_datasets(root):
        if other.path == str(expanded(path).absolute()):
            raise UsageError.at(
                path, expected="a dataset that is not in the list", found=f"{other.name!r}", remedy="choose that one"
            )
    return path


def remove(root: Path, name: str) -> None:
    """Remove a dataset from the list. Its recordings and an uploaded table stay: studies may refer to them.

    Raises:
        UsageError: no dataset has that name.
    """
    with _locked(root):
        before = list_datasets(root)
        after = [d for d in before if d.name != name]
        if len(after) == len(before):
            names = ", ".join(d.name for d in before) or "none"
            raise UsageError.at(list_file(root), expected=f"a dataset {name!r}", found=names, remedy="check the name")
        _write(root, after)


def absolute_paths(text: str, base: str | Path) -> str:
    """Return a trial table (CSV text) with absolute paths of recordings; relative ones are resolved against ``base``.

    Raises:
        TableError: there are relative paths, and ``base`` is empty or not a folder.
    """
    rows = list(csv.reader(io.StringIO(text, newline="")))
    path_columns = [i for i, column in enumerate(rows[0] if rows else []) if column.strip() in PATH_COLUMNS]
    folder = expanded(base).absolute() if str(base).strip() else None
    for row in rows[1:]:
        for i in path_columns:
            entry = row[i].strip() if i < len(row) else ""
            if not entry or Path(entry).is_absolute():
                continue
            if folder is None or not folder.is_dir():
                raise TableError.at(
                    entry,
                    expected="the folder that this relative path starts from",
                    found=f"no folder {base}" if folder else "none given",
                    remedy="name the folder on the server, or write absolute paths",
                )
            row[i] = str(folder / entry)
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def save_table(root: Path, name: str, text: str, base: str | Path) -> Path:
    """Save an uploaded trial table (CSV text) as ``.datasets/<name>/trials.csv`` and return its path.

    Paths become absolute (:func:`absolute_paths`). A different table of the same name is not overwritten, because
    studies may use it; the new one gets its own folder.

    Raises:
        TableError: as :func:`absolute_paths`.
        TrainingError: the checkpoints folder is not writable.
    """
    content = absolute_paths(text, base).encode()
    with _locked(root):
        number = 1
        while True:
            stem = slug(name) if number == 1 else f"{slug(name)}-{number}"
            path = root / ".datasets" / stem / "trials.csv"
            if not path.exists() or (path.is_file() and path.read_bytes() == content):
                break
            number += 1
        private_folder(root / ".datasets", stem)
        write_atomic(path, lambda file: file.write(content), private=True)
    return path


def _sealed(dataset: Dataset, folders: Iterable[str]) -> Dataset:
    chosen = tuple(folders)
    return dataset.replace(folders=chosen, seal=_seal(dataset.path, chosen) or None)


def _seal(path: str, folders: Iterable[str]) -> str:
    """The keyed digest of a dataset's path and folders; empty if this user has no place for a secret."""
    with contextlib.suppress(UsageError):
        return hmac.new(user_secret(SECRET), json.dumps([path, *folders]).encode(), hashlib.sha256).hexdigest()
    return ""


def _check_storable(path: str) -> None:
    if not is_utf8(path):
        raise UsageError.at(
            printable(path), expected="a path in UTF-8", found="other bytes", remedy="rename the folder"
        )


def _name_error(expected: str, found: str, remedy: str = "") -> Exception:
    return UsageError.at("dataset name", expected=expected, found=found, remedy=remedy or "choose another name")


def _read(root: Path) -> DatasetList:
    file = list_file(root)
    if not os.path.lexists(file):
        return DatasetList(datasets=())
    remedy = "fix it, or delete it and add the datasets again (recordings are not touched)"
    return read_record(file, DatasetList, remedy)


def _write(root: Path, datasets: list[Dataset]) -> None:
    ordered = sorted(datasets, key=lambda d: d.name.casefold())
    write_record(list_file(root), _read(root).replace(datasets=ordered), private=True)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Serialise read-modify-write of the list between threads and processes of one machine."""
    remedy = "fix its permissions, or choose another folder with EAVDASH_CHECKPOINTS"
    with contextlib.ExitStack() as stack:
        with UsageError.from_os(root, expected="a checkpoints folder that can be written", remedy=remedy):
            root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(file_lock(root / ".datasets.lock"))
        yield
