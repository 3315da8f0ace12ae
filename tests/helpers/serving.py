"""The dashboard, served for a browser test."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eavdash.cli.serve import APP, command, free_port


@contextmanager
def served(folder: Path, first_port: int) -> Iterator[str]:
    """Serve the app with ``folder/checkpoints`` and yield its URL; the server stops when the block ends."""
    port = free_port(first_port)
    environment = {**os.environ, "EAVDASH_CHECKPOINTS": str(folder / "checkpoints"), "PYTHONPATH": str(APP.parent)}
    environment["EAVDASH_DATA"] = json.dumps([str(folder.resolve())])
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            command(port, screen=False), cwd=APP.parent, env=environment, stdout=log, stderr=log
        ) as server,
    ):
        try:
            for _ in range(240):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                        break
                except OSError:
                    assert server.poll() is None, (folder / "server.log").read_text()
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
