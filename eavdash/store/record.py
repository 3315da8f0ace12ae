"""Records: JSON documents with a schema, by which the app, the scheduler, the workers and the command line communicate.

A record is frozen. Keys that this version does not know are kept and written back, so that an older and a newer version
can work on the same folder. A file that is too large, nested too deeply, or of the wrong shape is refused in one
sentence, whatever it contains.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator
from pydantic_core import from_json

from eavdash.errors import IntegrityError, VersionError
from eavdash.store.atomic import write_text
from eavdash.store.regular import open_regular

#: Size in bytes above which a file is not read; study.json with 10,000 recordings has 3 MB.
MAX_BYTES = 64 * 2**20
REMEDY = "restore it or train the study again"
#: A whole number that every program which reads JSON, and every table, can hold.
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
#: A list in JSON is a tuple here; its items are still checked strictly.
FromList = Strict(False)
Texts = Annotated[tuple[str, ...], FromList]
Numbers = Annotated[tuple[Whole, ...], FromList]
#: ``schema_version`` of a record whose earlier readers refuse that key: written from the second version on.
FIRST: Any = Field(default=1, exclude_if=lambda value: value == 1)
#: Default of a key that is written only once it has a value, because earlier versions take a null for one.
UNWRITTEN: Any = Field(default=None, exclude_if=lambda value: value is None)


class Part(BaseModel):
    """Base of what is nested in a record: an object without a file, and so without a version, of its own."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, ser_json_inf_nan="constants")
    #: True: fields that are None are not written.
    without_none: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, found: Any) -> Any:
        """Let a key whose value is null count as missing."""
        return {k: v for k, v in found.items() if v is not None} if isinstance(found, dict) else found

    def replace(self, **fields: Any) -> Self:
        """Return a copy with other values.

        Raises:
            TypeError: the record has no field of that name. ValidationError: a value has the wrong type.
        """
        if unknown := [name for name in fields if name not in type(self).model_fields]:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        return self.model_validate({**dict(self), **fields})

    def document(self) -> dict[str, Any]:
        """Return the content for a JSON file."""
        return self.model_dump(mode="json", exclude_none=self.without_none)

    def only(self, *names: str) -> dict[str, Any]:
        """Return the values of some fields by name."""
        return {name: getattr(self, name) for name in names}


class Record(Part):
    """Base of the records. ``schema_version`` grows when a key changes its meaning, not when a key is added.

    A subclass sets ``title`` in its ``model_config``: what the file is called in messages, with its article.
    """

    schema_version: Whole = 1


SomeRecord = TypeVar("SomeRecord", bound=Record)


def read_record(path: Path, kind: type[SomeRecord], remedy: str = REMEDY) -> SomeRecord:
    """Return the record at ``path``.

    Raises:
        IntegrityError: as :func:`read_json`, or the content has another shape.
        VersionError: it was written by a later version of eavdash.
    """
    try:
        record = kind.model_validate_json(_content(path, remedy))
    except ValidationError as error:
        title = kind.model_config.get("title") or kind.__name__
        title = "JSON" if error.errors()[0]["type"] == "json_invalid" else title
        raise IntegrityError.at(path, expected=title, found=_first_fault(error), remedy=remedy) from error
    if record.schema_version > kind.model_fields["schema_version"].default:
        raise VersionError.at(
            path,
            expected=f"schema version {kind.model_fields['schema_version'].default} or earlier",
            found=str(record.schema_version),
            remedy="open it with the version of eavdash that wrote it, or a later one",
        )
    return record


def write_record(path: Path, record: Record, *, private: bool = False) -> None:
    """Write a record with the keys that this version does not know, as :func:`eavdash.store.atomic.write_atomic`.

    Raises:
        TrainingError: the file cannot be written.
    """
    text = record.model_dump_json(indent=2, exclude_none=record.without_none)
    write_text(path, text + "\n", private=private)


def read_json(path: Path, remedy: str = REMEDY) -> Any:
    """Return the JSON document at ``path``.

    Raises:
        IntegrityError: it is missing, not a regular file, too large, nested too deeply, or not JSON; ``remedy`` becomes
            the error's remedy.
    """
    try:
        return from_json(_content(path, remedy))
    except ValueError as error:
        raise IntegrityError.at(path, expected="JSON", found=str(error), remedy=remedy) from error


def _content(path: Path, remedy: str) -> bytes:
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                limit = f"a file of at most {MAX_BYTES} bytes"
                raise IntegrityError.at(path, expected=limit, found=f"{size} bytes", remedy=remedy)
            return file.read(size)
    except FileNotFoundError:
        raise IntegrityError.at(path, expected="a file", found="none", remedy=remedy) from None
    except OSError as error:
        raise IntegrityError.at(path, expected="a regular file", found=str(error), remedy=remedy) from error


def _first_fault(error: ValidationError) -> str:
    """Return the first invalid key with its value, shortened, and the reason."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"no {key}"
    value = repr(first["input"])
    return f"{key} {value[:80]}{'…' if len(value) > 80 else ''}: {first['msg']}" if key else first["msg"]
