"""What the conductor does for one run: wait for its parents, see its job through, stop it.

Each method is a task of the queue and may be started again from the top at any time (after a crash of the conductor),
so each begins by looking: status.json says what is wanted, the run's lock says whether a job lives. A run's
``submission`` is the token of the request that put it into the queue; a task with another token is out of date and
leaves the run alone.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.config import execution_of
from eavdash.errors import EavdashError, IntegrityError, QueueError, TrainingError
from eavdash.jobs.broker import SLOTTED, URGENT, WAITING, Broker, Task
from eavdash.jobs.executors import Executor, Exit, Leases
from eavdash.jobs.slots import Slots
from eavdash.store import RunDir, StudyDir

#: How often in a row a run is killed, without finishing an epoch in between, until it is given up.
MAX_KILLS = 3
#: The worker's exit codes when not even its failure could be written.
EXIT_REASONS = {
    errno.ENOSPC: "its files could not be written: the disk is full; free some space, then retry: "
    "the last finished epoch is kept",
    errno.EIO: "its files could not be written; mend the disk or the permissions, then retry: "
    "the last finished epoch is kept",
}


def train_task(run: RunDir, status: dict[str, Any]) -> Task:
    """The task that computes a run. Fusion goes first: it is short, and it completes a subject."""
    priority = 1 if parents(run) else 2
    token = status.get("submission")
    name = f"{run.study.name}/{run.name}#{token}"
    return Task(name, "train", run.study.name, run.name, token, SLOTTED, priority)


def wait_task(run: RunDir, status: dict[str, Any]) -> Task:
    """The task that waits until a run's parents are done; it holds no slot."""
    train = train_task(run, status)
    return Task(f"{train.id}/wait", "wait", train.study, train.run, train.token, WAITING)


def stop_task(run: RunDir, status: dict[str, Any]) -> Task:
    """The task that ends a run's job; ``cancel`` in the status tells two requests apart."""
    train = train_task(run, status)
    return Task(f"{train.id}/stop-{status.get('cancel')}", "stop", train.study, train.run, train.token, URGENT)


def parents(run: RunDir) -> list[RunDir]:
    """The runs that must be done before this one."""
    return [run.study.run(name) for name in dict(run.config().get("parents") or {}).values()]


def obstacles(run: RunDir) -> tuple[list[str], dict[str, str]]:
    """Names of the parents that are not done yet, and those that will not be, with the reason."""
    waiting: list[str] = []
    lost: dict[str, str] = {}
    for parent in parents(run):
        try:
            status = parent.status()
        except IntegrityError:
            lost[parent.name] = f"{parent.name} does not exist"
            continue
        state, reason = status["state"], status.get("reason") or "no reason given"
        if state == "failed":
            lost[parent.name] = f"{parent.name} failed: {reason}"
        elif state == "cancelled":
            lost[parent.name] = f"{parent.name} was cancelled"
        elif state == "blocked" and status.get("blocked_by"):
            lost[parent.name] = f"{parent.name} is blocked: {reason}"
        elif state != "done":
            waiting.append(parent.name)
    return waiting, lost


@dataclass
class Foreman:
    """Carries out the tasks of one checkpoints folder."""

    root: Path
    broker: Broker
    executor: Executor
    slots: Slots
    waiters: int = 0

    def wait(self, study: str, name: str, token: str | None) -> None:
        """Wait until the run's parents are done, then queue it; end when one of them will not be."""
        run = StudyDir(self.root / study).run(name)
        self.waiters += 1
        try:
            while (status := _current(run, token, "blocked", "queued")) is not None:
                try:
                    if status["state"] == "queued" or _unblock(run, status):
                        if (now := _current(run, token, "queued")) is not None:
                            self.broker.enqueue([train_task(run, now)])
                        return
                except QueueError:
                    continue  # cancelled or queued anew in this very moment: look again
                except TrainingError as error:
                    _say(f"{study}/{name}: {error}")
                # Thousands of waiting runs must not read their parents' files twice a second.
                time.sleep(max(0.3, self.waiters / 300))
        except IntegrityError:
            return  # the study was deleted
        finally:
            self.waiters -= 1

    def train(self, study: str, name: str, token: str | None) -> None:
        """See the run through, over as many attempts as it takes."""
        run = StudyDir(self.root / study).run(name)
        while (status := _current(run, token, "queued", "running")) is not None:
            try:
                job = self.executor.find(run)
                ended: Exit | None = None
                if job is None and status["state"] == "running":
                    # It died while no conductor was there. That is not held against it: perhaps all was killed.
                    self._settle(run, token, Exit(), counted=False)
                    continue
                if job is None:
                    job, ended = self._start(run, token, status)
                if job is not None:
                    ended = self._watch(run, token, job)
                if ended is not None:
                    self._settle(run, token, ended)
            except (QueueError, IntegrityError):
                pass  # cancelled, deleted or taken up by somebody else in this very moment: look again
            except TrainingError as error:
                _say(f"{study}/{name}: {error}")
                time.sleep(1)

    def stop(self, study: str, name: str, token: str | None) -> None:
        """End the run's job, then write that it is cancelled: in this order, so that the state is never ahead."""
        run = StudyDir(self.root / study).run(name)
        while _current(run, token, "running", cancel=True) is not None:
            job = self.executor.find(run)
            if job is not None:
                _say(f"{study}/{name}: stopping")
                self.executor.stop(job)
            self._settle(run, token, Exit())

    def _start(self, run: RunDir, token: str | None, status: dict[str, Any]) -> tuple[Any | None, Exit | None]:
        """Wait for a slot and launch: the job, or how the attempt to launch it ended, or neither."""
        settings = execution_of(status)
        with self.slots.take(settings.threads, lambda: _current(run, token, "queued") is not None) as leases:
            if leases is None:
                return None, None
            try:
                job = self.executor.start(run, settings, Leases(leases), lambda: _claim(run, token))
            except OSError as error:
                _say(f"{run.path}: cannot be started: {error}")
                return None, Exit(error.errno if error.errno in EXIT_REASONS else errno.ENOEXEC)
        if job is None:
            time.sleep(0.1)
        else:
            _say(f"{run.study.name}/{run.name}: started")
        return job, None

    def _watch(self, run: RunDir, token: str | None, job: Any) -> Exit:
        """How the job ended; a job whose run was deleted or replaced is stopped."""
        looks = 0
        while (ended := self.executor.look(job)) is None:
            looks += 1
            if looks % 10 == 0 and not _wanted(run, token):
                _say(f"{run.path}: gone, its job is stopped")
                self.executor.stop(job)
            time.sleep(0.1)
        return ended

    def _settle(self, run: RunDir, token: str | None, ended: Exit, counted: bool = True) -> None:
        """Write what became of a run whose job has ended and did not say so itself."""

        def write() -> bool:
            status = _current(run, token, "running", cancel=None)
            if status is None:
                return True
            expect = {key: status.get(key) for key in ("state", "submission", "cancel", "attempt")}
            state, fields = _verdict(status, ended, counted)
            run.transition(state, expect=expect, **fields)
            _say(f"{run.study.name}/{run.name}: {state}{': ' if fields['reason'] else ''}{fields['reason']}")
            return True

        _persist(write)


def _verdict(status: dict[str, Any], ended: Exit, counted: bool) -> tuple[str, dict[str, Any]]:
    """The state after a job that ended without writing one, and the fields that go with it."""
    epoch = int(status.get("epoch") or 0)
    over = {"finished": time.time()}
    if status.get("cancel"):
        return "cancelled", {**over, "reason": f"cancelled after epoch {epoch}" if epoch else "cancelled"}
    if ended.code is not None and 0 <= ended.code < 128:
        if ended.code == errno.ENOEXEC:
            return "failed", {**over, "reason": "its process could not be started; see the conductor's log"}
        nothing = f"its process ended with exit code {ended.code} without a result; see its log"
        return "failed", {**over, "reason": EXIT_REASONS.get(ended.code, nothing)}
    number = 9 if ended.code is None else -ended.code if ended.code < 0 else ended.code - 128
    progress = epoch > int(status.get("killed_epoch", -1))
    kills = (0 if progress else int(status.get("kills") or 0)) + counted
    if kills >= MAX_KILLS:
        reason = f"its process was killed (signal {number}) {kills} times; look for what kills it (memory?), then retry"
        return "failed", {**over, "kills": kills, "reason": reason}
    reason = f"its process {f'was killed (signal {number})' if counted else 'is gone'}; it goes on after epoch {epoch}"
    return "queued", {"kills": kills, "killed_epoch": epoch, "reason": reason}


def _claim(run: RunDir, token: str | None) -> None:
    """Write that the run is being computed, unless it was cancelled, deleted or queued anew meanwhile."""
    status = run.status()
    now = time.time()
    run.transition(
        "running",
        expect={"state": "queued", "submission": token, "cancel": None},
        attempt=int(status.get("attempt") or 0) + 1,
        started=now,
        finished=None,
        heartbeat=now,
        host=os.uname().nodename,
        pid=None,
        reason="",
    )


def _unblock(run: RunDir, status: dict[str, Any]) -> bool:
    """Bring a waiting run's status up to date with its parents'; true when its waiting is over."""
    waiting, lost = obstacles(run)
    expect = {"state": "blocked", "submission": status.get("submission")}
    if lost:
        run.transition("blocked", expect=expect, reason="; ".join(lost.values()), blocked_by=list(lost))
        return True
    if not waiting:
        run.transition("queued", expect=expect, reason="")
        return True
    reason = waiting_reason(waiting)
    if status.get("reason") != reason:
        run.transition("blocked", expect=expect, reason=reason)
    return False


def waiting_reason(names: list[str]) -> str:
    """The reason of a run that waits for others."""
    return f"waits for {', '.join(names)}"


def _current(run: RunDir, token: str | None, *states: str, cancel: bool | None = False) -> dict[str, Any] | None:
    """The run's status if it is in one of the states, belongs to this request and is (not) to be cancelled."""
    try:
        status = run.status()
    except IntegrityError:
        return None
    if status.get("submission") != token or status.get("state") not in states or not run.config_file.exists():
        return None
    return status if cancel is None or bool(status.get("cancel")) == cancel else None


def _wanted(run: RunDir, token: str | None) -> bool:
    try:
        return run.config_file.exists() and run.status().get("submission") == token
    except EavdashError:
        return False


def _persist(write: Callable[[], bool]) -> bool:
    """Call ``write`` until the disk has room for what it says."""
    while True:
        try:
            return write()
        except TrainingError as error:
            _say(str(error))
            time.sleep(1)
        except QueueError:
            continue  # the status changed between reading and writing: decide again


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)
