"""Parts of a page that rerun alone, some by themselves: Streamlit's fragments, never one within another.

When a fragment runs again, Streamlit drops what it has drawn and the browser has not seen yet, but keeps what a
fragment within it has drawn. That then arrives without the place it belongs to, and the browser shows an empty page
("Bad delta path index"). So what is a fragment on one page is an ordinary part of a fragment on another.

The same happens when a fragment runs again that the page shown now does not have. Streamlit forgets those of before
when a page has come to its end, but not when it stops earlier; :func:`stop` does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import NoReturn, ParamSpec

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

__all__ = ["fragment", "stop"]

P = ParamSpec("P")
_within: ContextVar[bool] = ContextVar("within", default=False)


def fragment(run_every: float | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let a function draw a part of the page that reruns alone; called within such a part, it belongs to that.

    Args:
        run_every: seconds after which the part runs again by itself.

    Raises:
        RuntimeError: when such a part is drawn within another, where it would not run by itself.
    """

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        @wraps(function)
        def alone(*args: P.args, **kwargs: P.kwargs) -> None:
            token = _within.set(True)
            try:
                function(*args, **kwargs)
            finally:
                _within.reset(token)

        part = st.fragment(alone, run_every=run_every)

        @wraps(function)
        def draw(*args: P.args, **kwargs: P.kwargs) -> None:
            if not _within.get():
                part(*args, **kwargs)
            elif run_every:
                raise RuntimeError(f"{function.__qualname__} runs by itself: draw it outside of other fragments")
            else:
                function(*args, **kwargs)

        return draw

    return decorate


def stop() -> NoReturn:
    """End the page here; a part that was shown before, and not by this run, does not run again."""
    context = get_script_run_ctx()
    if context is not None and not context.fragment_ids_this_run:
        context.fragment_storage.clear(new_fragment_ids=context.shared.new_fragment_ids.snapshot())
    st.stop()
