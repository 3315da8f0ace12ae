"""A restricted unpickler: it returns arrays, numbers, texts and plain containers and rejects everything else.

In: a pickle of any protocol (0 to 5) written by Python 2 or 3 with numpy 1 or 2. Out: its content. Python's own
``pickle`` parses the stream, but every name in the stream is looked up in a table of stand-ins
(:mod:`~eavdash.data.formats.pickle_parts`); nothing is imported, and numpy's own unpickling (which trusts flags and
pointers in the stream) is never reached. The stand-ins only record the parts of an array, which is built from its bytes
afterwards.

A malicious file cannot run code. A damaged one, with arbitrary lengths and numbers, is rejected before it allocates
more memory than its size; one that copies the same bytes many times, before the copies are :data:`_COPIES` times its
size.
"""

from __future__ import annotations

import math
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

import numpy as np

from eavdash.config.limits import ARRAY_VALUES, UNFOLD_BYTES
from eavdash.data.formats.pickle_parts import MODULES, STAND_INS, Array, Dtype, Scalar, UnsafePickleError
from eavdash.data.recording import stamp, unreadable
from eavdash.errors import OutsideError, RecordingError
from eavdash.store.readable import open_readable

#: Payloads larger than this (bytes) are skipped if only the outline is requested.
OUTLINE = 1 << 20
_MOST = 8 * ARRAY_VALUES  # bytes of a file
_DEPTH = 50  # levels of nested containers
_COPIES = 4  # times a file's size, or UNFOLD_BYTES, that copies of its texts and bytes may take
_PLAIN = (str, bytes, bool, int, float, complex, np.number, np.bool_, np.character)


def load_arrays(path: str | Path, *, outline: bool = False) -> Any:
    """Load a pickle of numpy arrays, lists, tuples, dicts, sets, texts, bytes, numbers and None, nothing else.

    Arrays of objects are accepted if they contain arrays or numbers. With ``outline``, arrays of more than
    :data:`OUTLINE` bytes have their shape and dtype but contain zeros: their bytes are not read from the disk.

    Raises:
        RecordingError: no such file, not a pickle, damaged, or it contains anything else, which the message names.
    """
    path = Path(path)
    stamp(str(path))
    try:
        if outline:
            try:
                return _load(path, outline=True)
            except (UnsafePickleError, OutsideError, OSError):
                raise
            except Exception:  # a stream whose large pieces are not payloads: read it completely
                pass
        return _load(path, outline=False)
    except OutsideError:
        raise
    except UnsafePickleError as error:
        raise RecordingError.at(
            path,
            expected="a pickle of arrays, numbers and texts alone",
            found=str(error),
            remedy="do not open it with other programs, and get the file from its publisher again",
        ) from error
    except OSError as error:
        raise RecordingError.at(
            path,
            expected="a readable pickle",
            found=error.strerror or str(error),
            remedy="fix the path or copy the file again",
        ) from error
    except Exception as error:  # damaged streams raise many errors (EOFError, ValueError, KeyError, MemoryError ...)
        raise unreadable(str(path), "a complete pickle", error) from error


def _load(path: Path, outline: bool) -> Any:
    with open_readable(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MOST:
            raise ValueError(f"{size:,} bytes, more than {_MOST:,}")
        unpickler = _Unpickler(_Stream(file, size, outline), encoding="latin1")
        unpickler.left = max(UNFOLD_BYTES, _COPIES * size)
        content = unpickler.load()
    return _Rebuild(outline, unpickler.left)(content)


class _Stream:
    """A file that never returns more than its size, even if the stream claims a larger length.

    With ``skip``, large payloads are skipped: their length is right, their bytes are zeros.
    """

    def __init__(self, file: BinaryIO, size: int, skip: bool) -> None:
        self.file, self.size, self.skip = file, size, skip
        self.readline = file.readline

    def read(self, count: int = -1) -> bytes:
        """The next ``count`` bytes; less than that is the end."""
        count = min(count, self.size - self.file.tell())
        return self._pass(count) if self.skip and count > OUTLINE else self.file.read(count)

    def _pass(self, count: int) -> bytes:
        self.file.seek(count, 1)
        return bytes(count)


# Python's own parser in Python, not the one in C, whose memo table is as long as the largest number in the stream: one
# damaged byte can make it allocate gigabytes.
class _Unpickler(pickle._Unpickler):
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    left: int  # bytes that calls in the stream may still make

    def find_class(self, module: str, name: str) -> Any:
        make = STAND_INS.get((MODULES.get(module, module), name))
        if make is None:
            # Any text that begins with a "c" names an object: only what is one in a pickle is quoted.
            known = self.proto >= 2 or module.partition(".")[0] in sys.stdlib_module_names  # type: ignore[attr-defined]  # private
            named = f"the Python object {module}.{name}" if known else "a Python object"
            raise UnsafePickleError(f"{named}, which was neither imported nor run")
        return make

    def persistent_load(self, pid: Any) -> NoReturn:
        raise UnsafePickleError("a reference to something outside the file")

    def load_bytearray8(self: Any) -> None:
        """Read bytes of a stated length; Python's own method allocates them before it checks that they exist."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(length))

    def load_reduce(self: Any) -> None:
        """Make one call of the stream, and count what it makes: copies of texts, bytes and sets."""
        pickle._Unpickler.load_reduce(self)  # type: ignore[attr-defined]  # private
        made = self.stack[-1]
        self.left -= sys.getsizeof(made) if isinstance(made, (bytes, bytearray, set, frozenset)) else 0
        _refuse_copies(self.left)

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    dispatch[pickle.REDUCE[0]] = load_reduce


def _refuse_copies(left: int) -> None:
    if left < 0:
        raise UnsafePickleError(f"copies of its own content of more than {_COPIES} times its size")


class _Rebuild:
    """Replaces each stand-in by the array that it records; each object once, however often it is referenced."""

    def __init__(self, outline: bool, left: int) -> None:
        self.outline, self.left = outline, left
        self.done: dict[int, tuple[Any, Any]] = {}  # by identity; the original is kept so that it stays unique
        self.open: set[int] = set()

    def __call__(self, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, _PLAIN):
            return value
        key = id(value)
        if key in self.done:
            return self.done[key][1]
        if key in self.open or depth > _DEPTH:
            raise UnsafePickleError("containers that hold themselves, or too many in one another")
        self.open.add(key)
        result = self._rebuild(value, depth + 1)
        self.open.remove(key)
        self.done[key] = (value, result)
        return result

    def _rebuild(self, value: Any, depth: int) -> Any:
        if isinstance(value, Scalar):
            array = self._array(value, depth)
            if array.dtype.hasobject:
                raise UnsafePickleError("a number that is an object")
            return array[()]
        if isinstance(value, Array):
            return self._array(value, depth)
        if isinstance(value, dict):
            return {self(k, depth): self(v, depth) for k, v in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)(self(item, depth) for item in value)
        if isinstance(value, bytearray):
            return bytes(value)
        raise UnsafePickleError("a numpy type" if isinstance(value, Dtype) else "a name instead of a value")

    def _array(self, array: Array, depth: int) -> np.ndarray:
        dtype, count = array.dtype.dtype(), math.prod(array.shape)
        if dtype.hasobject:
            return self._objects(array, count, depth)
        raw = array.raw
        if isinstance(raw, list):
            raise UnsafePickleError("numbers in a form that numpy does not write")
        # A text of bytes that was skipped is longer: its length is that in UTF-8.
        skipped = self.outline and len(raw) > max(OUTLINE, count * dtype.itemsize)
        if len(raw) != count * dtype.itemsize and not skipped:
            raise ValueError(f"{len(raw)} bytes for an array of {count} times {dtype.itemsize}")
        if self.outline and len(raw) > OUTLINE:
            shape = array.shape if array.axes is None else tuple(array.shape[int(axis)] for axis in array.axes)
            return np.broadcast_to(np.zeros((), dtype), shape)
        if isinstance(raw, str):  # Python 2's strings were bytes
            self.left -= len(raw)
            _refuse_copies(self.left)
            raw = raw.encode("latin1")
        if count and not dtype.itemsize:
            raise ValueError("an array of items without a byte")
        values = np.frombuffer(raw, dtype) if count else np.zeros(0, dtype)
        values = values.reshape(array.shape, order="F" if array.order == "F" else "C")
        return values if array.axes is None else values.transpose([int(axis) for axis in array.axes])

    def _objects(self, array: Array, count: int, depth: int) -> np.ndarray:
        if not isinstance(array.raw, list) or len(array.raw) != count:
            raise UnsafePickleError("an array of objects in a form that numpy does not write")
        values = np.empty(count, dtype=object)
        for n, item in enumerate(array.raw):
            made = self(item, depth)
            if not isinstance(made, (np.ndarray, np.generic, bool, int, float, complex)):
                raise UnsafePickleError(f"an array of objects that holds {type(made).__name__}")
            values[n] = made
        return values.reshape(array.shape)  # numpy always lists them in C order
