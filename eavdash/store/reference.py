"""The reference of all files as Markdown: ``python -m eavdash.store.reference > docs/files.md``.

In: the names in :mod:`eavdash.store.paths`, with their docstrings. Out: a table for a study, a run and a task.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from eavdash.store.paths import RunPaths, StudyPaths, TaskPaths

HEAD = """# Files

What eavdash writes into the checkpoints folder (`./checkpoints`, `EAVDASH_CHECKPOINTS` or `--checkpoints`), made from
`eavdash/store/paths.py` by `python -m eavdash.store.reference > docs/files.md`. Files are written to a temporary name
and renamed, so that a reader never sees half of one. JSON documents have a `schema_version`; tables are Parquet or CSV;
arrays are `.npz`; weights are safetensors. Names of subjects, trials and classes are quoted where they have other
characters than letters, digits, dots, dashes and underscores. A study of an earlier version lacks the files that were
added since.

`checkpoints/.queue` belongs to the job queue, `checkpoints/.cache` has what can be computed again (`eavdash cache`),
`checkpoints/.datasets.json` the list of datasets; [architecture.md](architecture.md#files) says how they are kept.
"""
ROOT = Path("checkpoints")


def reference() -> str:
    """Return the page."""
    study, run = StudyPaths(ROOT / "STUDY"), RunPaths(ROOT / "STUDY" / "RUN")
    tables = (
        _table("A study", study, study.path),
        _table("A run: one stage of one subject, fold and seed", run, run.path),
        _table("A background task", TaskPaths(ROOT, "ID"), TaskPaths(ROOT, "ID").path),
    )
    return HEAD + "\n" + "\n\n".join(tables) + "\n"


def _table(title: str, paths: object, folder: Path) -> str:
    rows = "\n".join(f"| {names} | {meaning} |" for names, meaning in _files(paths, folder))
    return f"## {title}\n\nIn `{folder.as_posix()}/`:\n\n| file | content |\n|---|---|\n{rows}"


def _files(paths: object, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the names and the meaning of each file, in the order of the module; ``paths``: one of its classes."""
    for name, member in vars(type(paths)).items():
        if name.startswith("_") or name == "path":
            continue
        function = member.fget if isinstance(member, property) else getattr(member, "func", member)
        if isinstance(member, property | cached_property):
            found = getattr(paths, name)
        elif inspect.isfunction(member) and member.__annotations__.get("return") == "tuple[Path, Path]":
            wanted = list(inspect.signature(member).parameters)[1:]
            found = member(paths, *(one.upper() for one in wanted))
        else:
            continue
        files = [one for one in (found if isinstance(found, tuple) else (found,)) if isinstance(one, Path)]
        shown = [f"`{one.relative_to(folder).as_posix()}`" for one in files if one.is_relative_to(folder)]
        if shown:
            yield ", ".join(shown), _meaning(inspect.getdoc(function) or "")


def _meaning(docstring: str) -> str:
    """Return the first paragraph of a docstring on one line, for a cell of a Markdown table."""
    text = " ".join(docstring.partition("\n\n")[0].split())
    text = re.sub(r"^Return the paths of (.)", lambda found: found[1].upper(), text)
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
