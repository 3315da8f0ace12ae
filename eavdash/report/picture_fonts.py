"""Fonts of pictures for names that Matplotlib's own font cannot write."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Fonts of systems with the characters of Chinese, Japanese and Korean.
_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Arial Unicode MS"),
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic"),
)


@contextmanager
def styled(style: Any) -> Iterator[None]:
    """Draw with Matplotlib's settings ``style``, and with those of the fonts that are installed.

    Without any of them such characters are boxes in a PNG; in an SVG texts stay texts.
    """
    from matplotlib import font_manager, rc_context

    installed = set(font_manager.get_font_names())
    family = ["DejaVu Sans", *(name for name in _FONTS if name in installed)]
    with rc_context({**style, "font.family": family}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield
