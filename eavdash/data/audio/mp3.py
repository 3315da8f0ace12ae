"""The length that an MP3 file states: in a Xing, Info or VBRI tag in its first frame.

In: a path. Out: whether there is such a tag. Without one, decoders guess the length from the first frames' bit rate,
which is wrong where the bit rate varies, or where the file holds anything besides sound.
"""

from __future__ import annotations

from eavdash.store.readable import open_readable

_TAGS = (b"Xing", b"Info", b"VBRI")
_ID3 = 10  # bytes of the header of an ID3 tag, before the first frame
_SEARCHED = 8192  # bytes: more than a frame and some padding


def states_length(path: str) -> bool:
    """Return True if an MP3 file states its length.

    Raises:
        OSError, OutsideError: it cannot be opened.
    """
    with open_readable(path) as file:
        head = file.read(_ID3)
        if head[:3] == b"ID3" and len(head) == _ID3:
            # The size has seven bits in each of its bytes.
            file.seek(_ID3 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)))
            head = b""
        head += file.read(_SEARCHED)
    return any(tag in head for tag in _TAGS)
