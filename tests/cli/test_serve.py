"""Where the dashboard is served and to whom: addresses, names and ports, before anything is started."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from failing import fails

from eavdash.cli import serve
from eavdash.cli.main import main, parser
from eavdash.cli.serve import Serving
from eavdash.errors import UsageError


def test_a_token_is_needed_unless_asked_otherwise() -> None:
    for name in ("app", "demo"):
        assert Serving.of(parser().parse_args([name])) == Serving()
        assert "--no-token" not in Serving.of(parser().parse_args([name])).command(screen=False)
    open_to_all = Serving.of(parser().parse_args(["app", "--no-token", "--port", "8940"]))
    assert "--no-token" in open_to_all.command(screen=False)


def test_without_a_token_only_this_machine_is_served() -> None:
    for address in ("127.0.0.1", "127.0.0.2", "::1"):
        Serving(address, token=False)
    for address in ("0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "fe80::1"):
        with fails(UsageError, where="--no-token", expected="loopback", found=address):
            Serving(address, names=("lab",), token=False)


@pytest.mark.parametrize("command", ["app", "demo"])
def test_the_refusal_comes_before_any_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, "--no-token", "--address", "0.0.0.0", "--checkpoints", str(tmp_path / "c")]) == 2
    assert "--no-token" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_an_ip_address_and_all_addresses_need_a_name() -> None:
    with fails(UsageError, where="--address", found="lab.example.org"):
        Serving("lab.example.org")
    with fails(UsageError, where="--allowed-hosts", found="none"):
        Serving("0.0.0.0")


def test_the_app_answers_to_its_own_names() -> None:
    assert Serving().hosts == ("127.0.0.1", "localhost", "::1")
    assert Serving("192.168.1.5").hosts[3:] == ("192.168.1.5",)
    assert Serving("0.0.0.0", names=("lab", "localhost")).hosts[3:] == ("lab",)
    given = parser().parse_args(["app", "--allowed-hosts", "lab", "lab.example.org"])
    command = Serving.of(given).command(screen=False)
    assert command[command.index("--allowed-hosts") + 1 :] == [*serve.LOOPBACK_NAMES, "lab", "lab.example.org"]


def test_a_port_in_use_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with fails(UsageError, where="--port", found=(str(port), "127.0.0.1")):
            serve.free_port(port, tries=1)
        assert serve.free_port(port) > port
    with fails(UsageError, where="--port", found="0"):
        serve.free_port(0)


def test_what_the_server_does_not_protect_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda path, arguments, environment: started.append(arguments))
    monkeypatch.setattr(serve, "free_port", lambda first, address: first)
    monkeypatch.chdir(tmp_path)
    told = []
    for serving in (Serving(), Serving(token=False), Serving("192.168.1.5")):
        serve.serve(tmp_path, serving)
        told.append(capsys.readouterr().out)
    assert told[0] == ""
    assert "--no-token" in told[1]
    assert "TLS" in told[2]
    assert len(started) == 3
