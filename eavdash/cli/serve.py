"""Start the dashboard as a Streamlit server on this machine's loopback address."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from eavdash.errors import UsageError

APP = Path(__file__).resolve().parents[2] / "app.py"
ADDRESS = "127.0.0.1"


def free_port(first: int, tries: int = 50) -> int:
    """The first port from ``first`` on that nothing listens on.

    Raises:
        UsageError: all of them are taken, or it is no port.
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
        "--port", expected="a free port", found=f"{first}–{first + tries - 1} taken", remedy="choose another"
    )


def has_screen() -> bool:
    """Whether a browser can be opened here."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(port: int, screen: bool) -> list[str]:
    """The command that serves the app on ``port``; with a ``screen`` it opens a browser."""
    return [
        *(sys.executable, "-m", "eavdash.ui.server", "run", str(APP)),
        *("--server.address", ADDRESS, "--server.port", str(port)),
        *("--server.headless", "false" if screen else "true"),
    ]


def serve(checkpoints: Path, first_port: int) -> NoReturn:
    """Become the server, so that whatever ends this process ends it; the jobs go on.

    Raises:
        UsageError: there is no app beside the package (installed without the checkout), or no free port.
    """
    if not APP.exists():
        raise UsageError.at(APP, expected="the app beside the package", found="none", remedy="run from a checkout")
    port = free_port(first_port)
    print(f"dashboard: http://{ADDRESS}:{port}   (Ctrl-C closes it; jobs go on)", flush=True)
    # Streamlit reads .streamlit/config.toml from the working directory.
    os.chdir(APP.parent)
    arguments = command(port, has_screen())
    os.execve(arguments[0], arguments, {**os.environ, "EAVDASH_CHECKPOINTS": str(checkpoints)})
