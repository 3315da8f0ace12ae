"""The real process of a background task with a command line that only counts, for tests of the queue.

The task's last word is JSON: ``steps`` and ``seconds`` per step, ``child`` (start a child that runs for minutes),
``say`` (a last line on standard error), ``exit`` (the exit code), ``crash``, ``deaf`` (ignore SIGTERM), ``die_at``
(kill itself with signal 9 at that step). Each start adds a line to launches.txt in the checkpoints folder, each end one
to ended.txt.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

from eavdash.jobs import task_worker
from eavdash.store.task import report_progress


def main() -> int:
    """Count to the number of steps."""
    root = Path(os.environ["EAVDASH_CHECKPOINTS"])
    plan = json.loads(sys.argv[-1])
    task = Path(os.environ["EAVDASH_TASK"])
    with (root / "launches.txt").open("a") as file:
        file.write(f"{task.name} {os.getpid()} {time.monotonic()}\n")
    if plan.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if plan.get("child"):
        (root / "child.txt").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    for step in range(plan.get("steps", 1)):
        if plan.get("die_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        report_progress(step, plan.get("steps", 1), f"step {step}")
        time.sleep(plan.get("seconds", 0.02))
    report_progress(plan.get("steps", 1), plan.get("steps", 1), "all")
    with (root / "ended.txt").open("a") as file:
        file.write(f"{task.name} {time.monotonic()} {Path.cwd()} {sys.argv[1:-1]}\n")
    if plan.get("crash"):
        raise ValueError("no such thing")
    if plan.get("say"):
        print(plan["say"], file=sys.stderr)
    return int(plan.get("exit", 0))


if __name__ == "__main__":
    module = types.ModuleType("eavdash.cli.main")
    module.main = main  # type: ignore[attr-defined]
    sys.modules["eavdash.cli.main"] = module
    task_worker.leave(task_worker.main(sys.argv[1:]))
