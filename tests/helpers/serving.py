"""The dashboard, served for a test as ``eavdash app`` serves it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from eavdash.cli.serve import APP, Serving


@dataclass(frozen=True)
class Served:
    """A server that answers: its URL without a slash at the end, its token, what it prints, and what ends it."""

    url: str
    token: str
    log: Path
    stop: Callable[[], object]

    def link(self, path: str = "") -> str:
        """Return the URL of a path with the token, which opens it in any browser."""
        return f"{self.url}/{path}{'&' if '?' in path else '?'}{urlencode({'token': self.token})}"


@contextmanager
def served(
    folder: Path, first_port: int, script: Path = APP, serving: Serving | None = None, **variables: str
) -> Iterator[Served]:
    """Serve a script with ``folder/checkpoints`` until the block ends; ``variables``: of the server's environment."""
    serving = serving or Serving(first_port=first_port)
    environment = {
        **os.environ,
        "EAVDASH_CHECKPOINTS": str(folder / "checkpoints"),
        "EAVDASH_DATA": json.dumps([str(folder.resolve().parent)]),
        "PYTHONPATH": str(APP.parent),
        "PYTHONUNBUFFERED": "1",
        "XDG_STATE_HOME": str(folder / "state"),
        **variables,
    }
    log_file = folder / f"{script.stem}.log"
    with (
        log_file.open("wb") as log,
        subprocess.Popen(
            serving.command(screen=False, script=script), cwd=APP.parent, env=environment, stdout=log, stderr=log
        ) as server,
    ):
        try:
            yield _printed(server, log_file)
        finally:
            server.terminate()


def _printed(server: subprocess.Popen[bytes], log: Path) -> Served:
    """Return what a server prints once it listens."""
    for _ in range(1200):
        if found := re.search(r"^dashboard: (http\S*?)/(?:\?token=(\S+))?\s", log.read_text(), re.MULTILINE):
            return Served(found[1], found[2] or "", log, lambda: (server.terminate(), server.wait(60)))
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())
