"""The dashboard as a server on this machine's loopback address, or on another that was asked for."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from eavdash.errors import UsageError
from eavdash.store.processes import python_environment, python_module

_PACKAGE = Path(__file__).resolve().parents[1]
#: The router: inside an installed package, or at the top level of a checkout.
_INSTALLED = _PACKAGE / "_app" / "app.py"
APP = _INSTALLED if _INSTALLED.exists() else _PACKAGE.parent / "app.py"
ADDRESS = "127.0.0.1"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Serving:
    """The address that the app is served on, the first port to try, the names that it answers to besides its own, and
    whether a token is needed.

    Raises:
        UsageError: the address is none, or one on a network without a token, or all of them without a name.
    """

    address: str = ADDRESS
    first_port: int = 8501
    names: tuple[str, ...] = ()
    token: bool = True

    @classmethod
    def of(cls, options: argparse.Namespace) -> Serving:
        """Return what the options of ``eavdash app`` say."""
        return cls(options.address, options.port, tuple(options.allowed_hosts), not options.no_token)

    def __post_init__(self) -> None:
        try:
            given = ipaddress.ip_address(self.address)
        except ValueError:
            raise UsageError.at(
                "--address", expected="an IP address", found=self.address, remedy=f"for example {ADDRESS}"
            ) from None
        if not self.token and not given.is_loopback:
            raise UsageError.at(
                "--no-token",
                expected="a loopback address",
                found=self.address,
                remedy="leave one of the two out: everyone who reaches this machine could act in your name",
            )
        if given.is_unspecified and not self.names:
            raise UsageError.at(
                "--allowed-hosts",
                expected=f"the names by which others open the app on {self.address}",
                found="none",
                remedy="add them, for example --allowed-hosts lab.example.org",
            )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that the app answers to."""
        own = () if ipaddress.ip_address(self.address).is_unspecified else (self.address,)
        return tuple(dict.fromkeys((*LOOPBACK_NAMES, *own, *self.names)))

    def command(self, screen: bool, script: Path = APP) -> list[str]:
        """Return the command that serves a script on a free port; with a ``screen`` it opens a browser.

        Raises:
            UsageError: no port is free, or the first one is not a valid port.
        """
        port = free_port(self.first_port, address=self.address)
        return [
            *python_module("eavdash.ui.server", str(script), "--address", self.address, "--port", str(port)),
            *("--allowed-hosts", *self.hosts),
            *([] if self.token else ["--no-token"]),
            *(["--open"] if screen else []),
        ]


def free_port(first: int, tries: int = 50, address: str = ADDRESS) -> int:
    """Return the first free port from ``first`` on.

    Raises:
        UsageError: all of them are in use, ``first`` is not a valid port, or this machine does not have the address.
    """
    if not 0 < first < 65536:
        raise UsageError.at("--port", expected="1 to 65535", found=str(first), remedy="choose another")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in range(first, min(first + tries, 65536)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except (OSError, OverflowError):
                continue
            return port
    raise UsageError.at(
        "--port",
        expected="a free port",
        found=f"none of {first}–{first + tries - 1} on {address}",
        remedy="choose another",
    )


def has_screen() -> bool:
    """Return True if a browser can be opened on this machine."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def serve(checkpoints: Path, serving: Serving) -> NoReturn:
    """Replace this process by the server, which prints its address; queued jobs continue when it ends.

    Raises:
        UsageError: ``app.py`` is missing, or no port is free.
    """
    if not APP.exists():
        raise UsageError.at(APP, expected="the dashboard's app.py", found="no file", remedy="install eavdash again")
    arguments = serving.command(has_screen())
    if not serving.token:
        print("--no-token: every user of this machine can open the dashboard and act in your name", flush=True)
    elif not ipaddress.ip_address(serving.address).is_loopback:
        print(f"{serving.address}: others can read what is sent, unless TLS is set up (docs/guide.md)", flush=True)
    # Streamlit reads .streamlit/config.toml in the working directory.
    os.chdir(APP.parent)
    os.execve(arguments[0], arguments, python_environment(EAVDASH_CHECKPOINTS=str(checkpoints)))
