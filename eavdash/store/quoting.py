"""Messages of libraries about files, without a word of what is in them.

In: an error, and the file that it is about. Out: what a message of ours may say of it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from eavdash.errors import EavdashError
from eavdash.store.readable import open_readable, shown

QUOTED = 4 * 2**20  # bytes of a file that are compared with a message about it
#: Words of messages that also occur in honest files.
_USUAL = frozenset(
    {
        *("array", "bytes", "data", "error", "file", "float", "format", "header", "line", "name"),
        *("string", "type", "version"),
    }
)


def reason_of(error: Exception, file: str | Path) -> str:
    """Return type and message of an error about a file; the type alone if the message quotes what is in the file.

    A file that is not what it was taken for may be anybody's: parsers quote the lines that they do not understand. Of
    what the system reports, such as a missing file, the words alone are returned: the place is in our message.
    """
    if isinstance(error, OSError) and type(error).__module__ == "builtins" and error.errno:
        return os.strerror(error.errno)
    name, text = type(error).__name__, str(error)
    message = " ".join(f"{name}: {text}".split()).rstrip(".")
    plain = re.sub(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", " ", text.replace(shown(file), " "))
    words = {word.lower() for word in re.findall(r"\w{4,}", plain)} - _USUAL
    if not words:
        return message
    try:
        with open_readable(file) as opened:
            content = opened.read(QUOTED).replace(b"\0", b"").lower()
    except (OSError, ValueError, EavdashError):
        return message if isinstance(error, OSError) else name
    return name if any(word.encode() in content for word in words) else message
