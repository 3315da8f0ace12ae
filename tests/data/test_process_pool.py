"""The pool of processes: answers of any kind, replaced processes, and none that outlives its caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from eavdash.errors import RecordingError
from eavdash.store.processes import with_package
from eavdash.store.processes.pool import Ended, ProcessPool

PROGRAM = """
import os, signal, time
import numpy as np
from eavdash.data.audio.files import UnknownFormatError
from eavdash.store.processes.program import serve
def answer(request):
    what = request.get("do")
    if what == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "sleep":
        time.sleep(600)
    if what == "deaf":
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        time.sleep(600)
    if what == "fail":
        raise UnknownFormatError.at("a.wav", expected="a sound", found="none", remedy="leave it out")
    if what == "arrays":
        return {"nan": float("nan")}, [np.arange(6, dtype=">i2").reshape(2, 3).T, np.zeros((0, 3), bool), np.array(1.5)]
    return {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}, []
serve(answer)
"""


@pytest.fixture
def command(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "program.py").write_text(PROGRAM)
    return sys.executable, str(tmp_path / "program.py")


def ask(pool: ProcessPool, *asked: str, limit: float = 0.0, jobs: int = 1) -> list[Any]:
    """The answers in the order of the requests."""
    todo = list(enumerate(asked))
    take = lambda: (todo[0][0], {"do": todo.pop(0)[1]}, limit) if todo else None  # noqa: E731
    return [answer for _, answer in sorted(pool.answers(take, jobs), key=lambda x: x[0])]


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids)


def until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while not gone(pids):
        assert time.monotonic() < deadline, "a process is left behind"
        time.sleep(0.05)


def test_arrays_of_any_kind_and_errors_with_their_fields_arrive(command: tuple[str, ...]) -> None:
    with ProcessPool(command, 2) as pool:
        (found, arrays), error = ask(pool, "arrays", "fail")
    assert np.isnan(found["nan"])
    assert [(a.shape, a.dtype.str) for a in arrays] == [((3, 2), ">i2"), ((0, 3), "|b1"), ((), "<f8")]
    assert arrays[0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays[2] == 1.5
    assert type(error) is RecordingError  # the nearest type of eavdash.errors
    assert (error.where, error.expected, error.found, error.remedy) == ("a.wav", "a sound", "none", "leave it out")


def test_a_process_that_crashes_is_replaced_and_others_are_kept(command: tuple[str, ...]) -> None:
    with ProcessPool(command, 1) as pool:
        (first, _), (second, _), crash, (third, _) = ask(pool, "", "", "die", "")
        assert crash == Ended(-signal.SIGSEGV)
        assert first == second
        assert first["threads"] == "1"
        assert third["pid"] != first["pid"]
        pool.end_idle()
        assert gone([third["pid"]])
        (fourth, _) = ask(pool, "")[0]
        assert fourth["pid"] != third["pid"]


def test_a_time_limit_holds_also_for_a_process_that_ignores_its_alarm(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eavdash.store.processes.pool._GRACE", 0.5)
    with ProcessPool(command, 2) as pool:
        assert ask(pool, "sleep", "deaf", limit=0.5, jobs=2) == [
            Ended(-signal.SIGALRM, True),
            Ended(-signal.SIGKILL, True),
        ]


def test_a_program_that_is_killed_costs_one_answer_per_process(command: tuple[str, ...]) -> None:
    todo = ["", "sleep", "", ""]
    with ProcessPool(command, 1) as pool:
        answers = pool.answers(lambda: (len(todo), {"do": todo.pop(0)}, 2.0) if todo else None)
        pid = next(answers)[1][0]["pid"]  # type: ignore[index]
        psutil.Process(pid).parent().kill()
        rest = [answer for _, answer in answers]
    assert [type(answer) for answer in rest] == [Ended, tuple, tuple]
    until_gone([pid])


CALLER = """
import sys
from eavdash.store.processes.pool import ProcessPool
todo = ["", "sleep", "sleep"]
pool = ProcessPool(sys.argv[1:], 2)
for _, answer in pool.answers(lambda: (0, {"do": todo.pop(0)}, 0.0) if todo else None):
    print(answer[0]["pid"], flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGABRT])
def test_processes_end_with_their_caller_also_while_they_are_busy(command: tuple[str, ...], number: int) -> None:
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=with_package(dict(os.environ)),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert caller.stdout is not None
    assert caller.stdout.readline().strip().isdigit()
    deadline = time.monotonic() + 20
    while len(made := psutil.Process(caller.pid).children(recursive=True)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    caller.send_signal(number)
    caller.communicate(timeout=30)
    until_gone([p.pid for p in made])
