"""Adapters: the conversion of datasets into trial tables.

In: a folder. Out: the kind, the root and the :class:`~eavdash.data.adapters.base.Adapted` of the first adapter that
recognises it. They are tried in a fixed order: EAV's folders, EAV's published pickles, BIDS, DEAP, then those that
other packages provide in the entry point group ``eavdash.adapters``, by name. docs/adapters.md shows how to write one.

An external adapter may fail in any way: its failure is reported in one sentence that names it, and affects no other
adapter.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from eavdash.data.adapters import bids, deap, eav, pickles
from eavdash.data.adapters.base import Adapted, Adapter, check_name, shown
from eavdash.errors import EavdashError, TableError

#: In the order in which they are tried.
BUILT_IN = (eav.ADAPTER, pickles.ADAPTER, bids.ADAPTER, deap.ADAPTER)
GROUP = "eavdash.adapters"
#: The supported kinds, for messages.
KINDS = "EAV, EAV's published pickles, BIDS EEG, DEAP, or that of an installed adapter"
_TAKEN = ("table", *(adapter.kind for adapter in BUILT_IN))


def adapt(path: Path) -> tuple[str, Path, Adapted] | None:
    """Kind, root and trials of the dataset at or below a folder; None if no adapter recognises it.

    Raises:
        TableError: it is ambiguous or cannot be read, or no adapter recognised it and at least one failed.
    """
    for adapter in BUILT_IN:
        if (root := adapter.find(path)) is not None:
            check_name(root)
            return adapter.kind, root, adapter.read(root)
    failures: list[str] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            adapter = _load(entry)
            found = adapter.find(path)
        except EavdashError as error:
            failures.append(str(error))
            continue
        except Exception as error:  # third-party code may raise anything
            failures.append(_failure(entry, path, "a search of the folder", error))
            continue
        if found is not None:
            root = Path(found).absolute()
            check_name(root)
            adapted = _read(entry, adapter, root)
            return adapter.kind, root, replace(adapted, notes=(*adapted.notes, *failures))
    if failures:
        more = f" ({len(failures) - 1} more adapters failed.)" if len(failures) > 1 else ""
        raise TableError(failures[0] + more)
    return None


def _load(entry: EntryPoint) -> Adapter:
    adapter = entry.load()
    if not isinstance(adapter, Adapter):
        raise TableError.at(
            _adapter_name(entry),
            expected="an eavdash.data.adapters.base.Adapter",
            found=type(adapter).__name__,
            remedy="fix the entry point or uninstall the package",
        )
    if adapter.kind in _TAKEN:
        raise TableError.at(
            _adapter_name(entry),
            expected=f"a unique kind, other than {', '.join(_TAKEN)}",
            found=repr(adapter.kind),
            remedy="rename the kind",
        )
    return adapter


def _read(entry: EntryPoint, adapter: Adapter, root: Path) -> Adapted:
    try:
        adapted = adapter.read(root)
        if not isinstance(adapted, Adapted):
            raise TypeError(f"{type(adapted).__name__} instead of Adapted")
    except EavdashError:
        raise
    except Exception as error:  # as above
        raise TableError(_failure(entry, root, "its trials", error)) from error
    return adapted


def _adapter_name(entry: EntryPoint) -> str:
    return f"adapter {entry.name!r} ({entry.value})"


def _failure(entry: EntryPoint, path: Path, expected: str, error: Exception) -> str:
    found = " ".join(f"{type(error).__name__}: {error}".split())
    remedy = "fix the package that provides it, or uninstall it"
    return str(TableError.at(f"{_adapter_name(entry)}, {shown(path)}", expected=expected, found=found, remedy=remedy))
