"""The common suite of all executors, for the local one."""

from __future__ import annotations

import os
import signal

import pytest
from lab import Lab
from scenarios import *  # noqa: F403
from scenarios import ExecutorCase

from eavdash.config.schema import Execution
from eavdash.store import RunDir


@pytest.fixture
def case(lab: Lab) -> ExecutorCase:
    def end(run: RunDir) -> None:
        os.kill(run.status().pid, signal.SIGTERM)

    return ExecutorCase(lab, Execution(executor="local"), end, lambda: [])
