"""A Ray cluster of two nodes on this machine, a head and a second node, which can be killed and restarted.

It needs an empty folder with a short path (for Ray's sockets), and provides the address of the dashboard and the
variables that Ray's clients need. Ray listens on every address of the machine regardless of its options, so the cluster
has a token. A variable in the environment identifies its processes, because ``ray stop`` would end every Ray process of
the user.

The head has three CPUs and a GPU, the second node two CPUs; these are declared, not real. So two runs of two threads
fill both nodes, and two runs that share the GPU leave CPUs free.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from eavdash.store import locks

#: Variable with the cluster's folder and the node's name.
MARK = "EAVDASH_TESTED_RAY"
#: Seconds after which Ray drops a waiting job: short, so that the tests can observe it.
START_TIMEOUT = 20


class Cluster:
    """Two nodes, "head" and "second", from :meth:`open` to :meth:`close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.dashboard = 0, _free_port()
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    def open(self) -> None:
        """Start both nodes; return when both accept jobs."""
        head = self._launch("head")
        deadline = time.monotonic() + 60
        while not _listening(self.port) and head.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        second = self._launch("second")
        _ended_well(head)
        _ended_well(second)

    def restart(self) -> None:
        """Start the nodes that are not running."""
        if not self.processes("head"):
            self.kill("second")
            self.open()
        elif not self.processes("second"):
            self.start("second")

    def start(self, node: str) -> None:
        """Start a node; return when it accepts jobs."""
        _ended_well(self._launch(node))

    def _launch(self, node: str) -> subprocess.Popen[str]:
        if node == "head":
            self.port = _free_port()  # Ray refuses a port that a node of an earlier head still uses
        options = {
            "head": [
                "--head",
                "--node-ip-address=127.0.0.1",
                f"--port={self.port}",
                "--dashboard-host=127.0.0.1",
                f"--dashboard-port={self.dashboard}",
                "--include-dashboard=true",
                f"--ray-client-server-port={_free_port()}",
                f"--temp-dir={self.folder}",
                "--num-cpus=3",
                "--num-gpus=1",
                "--disable-usage-stats",
                "--no-monitor",
            ],
            "second": [
                f"--address=127.0.0.1:{self.port}",
                "--node-ip-address=127.0.0.2",
                "--num-cpus=2",
                "--num-gpus=0",
            ],
        }[node]
        common = ["--object-store-memory=80000000", "--include-log-monitor=false"]
        common += [f"--dashboard-agent-listen-port={_free_port()}"]
        return subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *options, *common],
            env=os.environ
            | self.environment
            | {
                MARK: self._mark(node),
                "RAY_JOB_START_TIMEOUT_SECONDS": str(START_TIMEOUT),
                "RAY_memory_monitor_refresh_ms": "0",
                "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
                "RAY_health_check_period_ms": "500",
                "RAY_health_check_timeout_ms": "2000",
                "RAY_health_check_failure_threshold": "3",
                "RAY_DISABLE_IMPORT_WARNING": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self, node: str, spare: Callable[[int], bool] = lambda _: False) -> None:
        """Kill every process of a node except those for which ``spare`` is True."""
        deadline = time.monotonic() + 20
        while (left := [pid for pid in self.processes(node) if not spare(pid)]) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)

    def processes(self, node: str) -> list[int]:
        """Return the live processes of a node and of its jobs."""
        return locks.pids_with_env(MARK, self._mark(node))

    def close(self) -> None:
        for node in ("second", "head"):
            self.kill(node)

    def _mark(self, node: str) -> str:
        return f"{self.folder}:{node}"


def _ended_well(starting: subprocess.Popen[str]) -> None:
    output, _ = starting.communicate(timeout=120)
    assert starting.returncode == 0, output


def _listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
