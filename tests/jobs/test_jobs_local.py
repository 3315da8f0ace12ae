"""The suite of every place, on this machine."""

from __future__ import annotations

import os
import signal

import pytest
from conftest import Lab
from scenarios import *  # noqa: F403
from scenarios import Place

from eavdash.config.schema import Execution
from eavdash.store import RunDir


@pytest.fixture
def place(lab: Lab) -> Place:
    def end(run: RunDir) -> None:
        os.kill(run.status()["pid"], signal.SIGTERM)

    return Place(lab, Execution(executor="local"), end, lambda: [])
