"""The program of the processes that make the demo dataset (:mod:`eavdash.store.processes.program`).

In: requests: the dataset's root, a subject's folder, the arguments of its plan, and a task. Out: the task's files.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from eavdash.demo.make import run_task, writing_errors
from eavdash.demo.plan import DemoSize, Planting, plan_subject
from eavdash.store.processes.program import Answer, serve

_plan = lru_cache(maxsize=2)(plan_subject)


def answer(request: dict[str, Any]) -> Answer:
    """Do one task."""
    size = DemoSize(**request["size"])
    planting = Planting(request["plant"], tuple(request["cues"]))
    first, last = request["task"]
    with writing_errors(Path(request["root"])):
        plan = _plan(request["seed"], request["subject"], size, planting)
        run_task(Path(request["folder"]), plan, (first, last), size)
    return {}, []


if __name__ == "__main__":
    serve(answer)
