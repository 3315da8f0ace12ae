"""Passwords of addresses: taken out, and hidden in texts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from eavdash.store.passwords import hide, split_address
from eavdash.store.processes import with_package


@pytest.mark.parametrize(
    ("url", "address", "secrets"),
    [
        ("postgresql://lab@host/db", "postgresql://lab@host/db", {}),
        ("postgresql://lab@host:5432/db?sslmode=require", "postgresql://lab@host:5432/db?sslmode=require", {}),
        ("postgresql://lab:p%40w@host/db", "postgresql://lab@host/db", {"password": "p@w"}),
        ("postgresql://lab:p@w@host/db", "postgresql://lab@host/db", {"password": "p@w"}),
        ("postgresql://lab:p/w?x@host/db", "postgresql://lab@host/db", {"password": "p/w?x"}),
        ("postgres://host/db?password=a%26b&sslmode=x", "postgres://host/db?sslmode=x", {"password": "a&b"}),
        ("postgres://u@host/db?password=a@b", "postgres://u@host/db", {"password": "a@b"}),
        ("postgres://u:x@h/d?p%61ssword=y", "postgres://u@h/d", {"password": "y"}),
        (
            "postgres://u:x@h/d?sslpassword=y&passfile=/p&sslkey=k",
            "postgres://u@h/d?sslkey=k",
            {"password": "x", "sslpassword": "y", "passfile": "/p"},
        ),
        ("no address", "no address", {}),
    ],
)
def test_an_address_is_split_from_its_secrets(url: str, address: str, secrets: dict[str, str]) -> None:
    assert split_address(url) == (address, secrets)


def test_secrets_are_hidden_in_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAVDASH_QUEUE", "postgresql://u:sec%20ret@h/d?sslpassword=another")
    monkeypatch.setenv("PGPASSWORD", "third-one")
    text = "at 'postgres://x:elsewhere@h/d' with sec ret, sec%20ret, another and third-one"
    assert hide(text) == "at 'postgres://x@h/d' with ***, ***, *** and ***"
    assert hide("no secret here: 12:30, a@b") == "no secret here: 12:30, a@b"


def test_a_guarded_process_prints_no_secret_in_logs_and_tracebacks() -> None:
    program = """
import logging, os
from eavdash.store.passwords import guard_output
guard_output()
url = os.environ["EAVDASH_QUEUE"]
print("printed", url)
logging.getLogger("dbos").error("logged %s", url)
raise RuntimeError(f"raised {url}")
"""
    environment = with_package({"EAVDASH_QUEUE": "postgresql://u:planted@h/d?password=planted2"})
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    shown = done.stdout + done.stderr
    assert all(word in shown for word in ("printed", "logged", "raised"))
    assert shown.count("postgresql://u@h/d") == 3
    assert "planted" not in shown
