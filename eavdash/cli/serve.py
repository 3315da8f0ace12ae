"""The dashboard as a Streamlit server on this machine's loopback address."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from eavdash.errors import UsageError
from eavdash.processes import python_environment, python_module

APP = Path(__file__).resolve().parents[2] / "app.py"
ADDRESS = "127.0.0.1"


def free_port(first: int, tries: int = 50) -> int:
    """Return the first free port from ``first`` on.

    Raises:
        UsageError: all of them are in use, or ``first`` is not a valid port.
    """
    if not 0 < first < 65536:
        raise UsageError.at("--port", expected="1 to 65535", found=str(first), remedy="choose another")
    for port in range(first, min(first + tries, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, port))
            except (OSError, OverflowError):
                continue
            return port
    raise UsageError.at(
        "--port", expected="a free port", found=f"{first}–{first + tries - 1} in use", remedy="choose another"
    )


def has_screen() -> bool:
    """Return True if a browser can be opened on this machine."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(port: int, screen: bool) -> list[str]:
    """Return the command that serves the app on ``port``; with a ``screen`` it opens a browser."""
    return [
        *python_module("eavdash.ui.server", "run", str(APP)),
        *("--server.address", ADDRESS, "--server.port", str(port)),
        *("--server.headless", "false" if screen else "true"),
    ]


def serve(checkpoints: Path, first_port: int) -> NoReturn:
    """Replace this process by the server; queued jobs continue when it ends.

    Raises:
        UsageError: ``app.py`` is missing (installed without the checkout), or no port is free.
    """
    if not APP.exists():
        raise UsageError.at(APP, expected="the dashboard's app.py", found="no file", remedy="run from a checkout")
    port = free_port(first_port)
    print(f"dashboard: http://{ADDRESS}:{port}   (Ctrl-C closes it; jobs continue)", flush=True)
    # Streamlit reads .streamlit/config.toml in the working directory.
    os.chdir(APP.parent)
    arguments = command(port, has_screen())
    os.execve(arguments[0], arguments, python_environment(EAVDASH_CHECKPOINTS=str(checkpoints)))
