"""The phase that a run is in, such as "reading windows 40/60", told to the process that computes it.

In: a listener, set around the training by :func:`listening`. Out: its calls with the name of the phase and, where it
can be counted, how much of it is done. Nothing is computed, stored or drawn at random here, so results do not depend on
it. Threads started meanwhile do not report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from eavdash.store.status import TRAINING

Listener = Callable[[str, int, int], None]  # name, done, total (0: not counted)
READING, COMPUTING, FITTING = "reading windows", "computing features", "fitting the last layer"
COMPILING, TESTING, BASELINES = "compiling", "testing", "baselines"

__all__ = ["BASELINES", "COMPILING", "COMPUTING", "FITTING", "READING", "TESTING", "TRAINING", "enter", "listening"]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Tell ``listener`` of every phase while the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def enter(name: str, done: int = 0, total: int = 0) -> Callable[[int, int], None] | None:
    """Tell the listener which phase goes on; return a function that tells it how much is done, and of how much.

    None if nobody listens.
    """
    listener = _listener.get()
    if listener is None:
        return None
    listener(name, done, total)
    return partial(listener, name)
