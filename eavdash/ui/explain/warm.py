"""Warm processes that answer what-ifs of the page One trial, one per study.

In: a run, a trial and changes. Out: an :class:`Asked`, which a thread fills in while the page goes on. The processes
keep encoders and windows in memory; there are at most :data:`MOST`, they end when they have been idle for :data:`IDLE`
seconds, and with the app, whatever ends it (:mod:`eavdash.store.processes.pool`). Answers are kept, a bounded number.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from eavdash.errors import EavdashError, TrainingError
from eavdash.explain.whatif_record import WhatIf
from eavdash.store import RunDir
from eavdash.store.processes import python_module
from eavdash.store.processes.pool import Ended, ProcessPool
from eavdash.store.readable import data_folders
from eavdash.ui.cached_results import file_stamp

MOST = 2  # processes
IDLE = 600.0  # seconds
LIMIT = 900.0  # seconds that a request may take
ANSWERS = 64  # kept
STEPS = ("Starting a process for this study", "Reading the trial and the encoders", "Deciding again")


@dataclass
class Asked:
    """A what-if and how far it is: ``step`` of :data:`STEPS`; finished once ``done`` is set."""

    study: str  # folder
    step: int = 0
    started: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    answer: WhatIf | None = None
    error: EavdashError | None = None
    cancelled: bool = False

    def finish(self, answer: WhatIf | None = None, error: EavdashError | None = None) -> None:
        self.answer, self.error = answer, error
        self.done.set()


@dataclass
class _Warm:
    pool: ProcessPool
    used: float = 0.0
    started: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)  # held while it is busy
    asked: Asked | None = None  # what it computes


class WarmProcesses:
    """The processes of an app, and the answers that they gave."""

    def __init__(self, idle: float = IDLE) -> None:
        self.idle = idle
        self._lock = threading.Lock()
        self._warm: OrderedDict[str, _Warm] = OrderedDict()
        self._asked: OrderedDict[tuple[Any, ...], Asked] = OrderedDict()

    def ask(self, run: RunDir, subject: str, trial: str, changes: Sequence[tuple[str, str]]) -> Asked:
        """Return the answer to a what-if, or what will become it; asking twice computes once."""
        key = (str(run.path), file_stamp(run.status_file), subject, trial, tuple(changes))
        with self._lock:
            if (found := self._asked.get(key)) is not None:
                self._asked.move_to_end(key)
                return found
            asked = self._asked[key] = Asked(str(run.study.path))
            for old in [k for k, each in self._asked.items() if each.done.is_set()][: len(self._asked) - ANSWERS]:
                del self._asked[old]
        folders = data_folders()
        request = {
            "study": asked.study,
            "run": run.name,
            "subject": subject,
            "trial": trial,
            "folders": None if folders is None else list(folders),
        }
        threading.Thread(target=self._work, args=(asked, request, list(changes)), daemon=True).start()
        return asked

    def cancel(self, asked: Asked) -> None:
        """Stop a what-if, and its process if it computes this one and not another; the next one starts another."""
        with self._lock:
            asked.cancelled = True
            warm = self._warm.get(asked.study)
            if ours := warm is not None and warm.asked is asked:
                del self._warm[asked.study]
        if warm is not None and ours:
            warm.pool.close()
        elif not asked.done.is_set():
            asked.finish(error=_stopped())

    def forget(self, asked: Asked) -> None:
        """Let a what-if that failed or was cancelled be asked again."""
        with self._lock:
            for key in [k for k, each in self._asked.items() if each is asked]:
                del self._asked[key]

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            ended = list(self._warm.values())
            self._warm.clear()
        for warm in ended:
            warm.pool.close()

    def running(self) -> int:
        """Return the number of processes."""
        return len(self._warm)

    def _work(self, asked: Asked, request: dict[str, Any], changes: list[tuple[str, str]]) -> None:
        try:
            warm = self._of(asked.study)
            with warm.lock:
                with self._lock:
                    if asked.cancelled:
                        raise _stopped()
                    warm.asked = asked
                asked.step = 1 if warm.started else 0
                _send(warm.pool, {**request, "changes": []})  # what is loaded already costs nothing
                warm.started = True
                asked.step = 2
                found = _send(warm.pool, {**request, "changes": changes})
                warm.used = time.monotonic()
            if self._warm.get(asked.study) is not warm:  # cancelled, or made way for others, meanwhile
                warm.pool.close()
            asked.finish(WhatIf.model_validate(found))
        except EavdashError as error:
            asked.finish(error=_stopped() if asked.cancelled else error)
        except Exception as error:  # the page waits for an answer, whatever happens
            asked.finish(error=TrainingError(f"what-if: {str(error).strip().splitlines()[-1]}"))
            raise

    def _of(self, study: str) -> _Warm:
        """Return the process of a study; the one that was used least recently ends if there would be too many."""
        with self._lock:
            if study not in self._warm:
                self._warm[study] = _Warm(ProcessPool(python_module("eavdash.explain.whatif_worker"), 1))
                threading.Thread(target=self._end_idle, args=(self._warm[study], study), daemon=True).start()
            self._warm.move_to_end(study)
            warm = self._warm[study]
            warm.used = time.monotonic()
            idle = [name for name, each in self._warm.items() if name != study and not each.lock.locked()]
            ended = [self._warm.pop(name) for name in idle[: max(0, len(self._warm) - MOST)]]
        for each in ended:
            each.pool.close()
        return warm

    def _end_idle(self, warm: _Warm, study: str) -> None:
        """End a process once it has been idle for long."""
        while True:
            time.sleep(min(10.0, self.idle / 2))
            with self._lock:
                if self._warm.get(study) is not warm:
                    return
                if warm.lock.locked() or time.monotonic() - warm.used < self.idle:
                    continue
                del self._warm[study]
            warm.pool.close()
            return


def _send(pool: ProcessPool, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one request.

    Raises:
        EavdashError: the process's own error, or that it ended.
    """
    todo = [(0, request, LIMIT)]
    for _, answer in pool.answers(lambda: todo.pop() if todo else None):
        if isinstance(answer, tuple):
            return answer[0]
        if isinstance(answer, Ended):
            reason = f"{LIMIT:.0f} s without an answer" if answer.overdue else _reason(answer.code)
            remedy = "try again; if it happens again, free memory"
            raise TrainingError.at("what-if", expected="an answer", found=reason, remedy=remedy)
        raise answer
    raise TrainingError.at("what-if", expected="an answer", found="none", remedy="try again")


def _reason(code: int) -> str:
    how = signal.strsignal(-code) if code < 0 else f"exit code {code}"
    return f"that its process ended ({how})"


def _stopped() -> TrainingError:
    return TrainingError.at("what-if", expected="an answer", found="that it was cancelled", remedy="start it again")


@st.cache_resource(show_spinner=False)
def processes() -> WarmProcesses:
    """Return the processes of this app."""
    return WarmProcesses()
