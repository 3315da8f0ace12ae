"""The probe of a cluster's nodes: a short job that checks storage, locks and the Python environment where it runs.

In: a checkpoints folder. Out: the command for a node, and a sentence for each problem that its answer shows. Delegated
to ray_check.py and slurm_check.py: running it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

import eavdash
from eavdash.config.schema import Execution
from eavdash.errors import sentence
from eavdash.jobs.queue_database import queue_folder
from eavdash.store import locks
from eavdash.store.record import Part

LIBRARIES = ("torch", "numpy")
#: What runs on a node. Arguments: the file to read, its expected content, the file to write, "gpu" if torch must see
#: one, and libraries. The result is written to that file, or printed if that fails: of a failed job, Ray keeps the last
#: lines only.
SCRIPT = """
import fcntl, json, platform, sys
from importlib import metadata
from pathlib import Path
question, nonce, answer, gpu, *libraries = sys.argv[1:]
found = {"python": platform.python_version()}
try:
    from eavdash.jobs.executors import probe
    found["eavdash"] = probe.digest()
    if gpu:
        import torch
        found["gpu"] = torch.cuda.is_available()
except ImportError as error:
    found["missing"] = str(error)
for name in libraries:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found[name] = "none"
try:
    with open(question, "r+") as file:
        if file.read() == nonce:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found["unlocked"] = True  # although the checking process holds the lock
            except BlockingIOError:
                pass
            except OSError:
                found["unlocked"] = True  # a file system without locks
            Path(answer + ".part").write_text(json.dumps(found))
            Path(answer + ".part").rename(answer)
            sys.exit(0)
    found["storage"] = "another folder of that name"
except OSError as error:
    found["storage"] = error.strerror or str(error)
print("eavdash-probe", json.dumps(found))
sys.exit(1)
"""


class Answer(Part):
    """Answer of a node; ``storage`` and ``missing`` say why it cannot use the folder or import the package."""

    python: str
    torch: str = "none"
    numpy: str = "none"
    eavdash: str = ""  # digest of its copy
    gpu: bool = True  # False: torch sees none, though one was asked for
    storage: str = ""
    unlocked: bool = False  # it does not see the lock of the checking process
    missing: str = ""


@dataclass(frozen=True)
class Probe:
    """The files of a check: the locked ``question`` beside the queue, and beside that an answer per node, by number."""

    root: Path
    nonce: str
    question: Path

    def file(self, node: int) -> Path:
        """The file of a node's answer."""
        return Path(f"{self.question}-{node}")

    def command(self, node: int, gpu: bool = False) -> tuple[str, ...]:
        """The command for a node."""
        given = (str(self.question), self.nonce, str(self.file(node)), "gpu" if gpu else "", *LIBRARIES)
        return sys.executable, "-P", "-c", SCRIPT, *given

    def answer(self, node: int) -> str | None:
        """Return the answer in a node's file; None if there is none, or if network storage does not show it yet."""
        os.listdir(self.question.parent)  # noqa: PTH208 - forces the folder to be read again
        file = self.file(node)
        return file.read_text(encoding="utf-8") if file.exists() else None

    def problems(self, where: str, answer: str) -> list[str]:
        """Return a sentence for each problem in the answer of the node ``where``."""
        environment = f"Python {platform.python_version()} with eavdash at {sys.executable}"
        same = "give each node the same environment at the same path, or keep it on storage that all nodes share"
        try:
            found = Answer.model_validate_json(answer)
        except ValidationError:
            return [sentence(where, environment, answer.strip(), same)]
        problems = []
        if found.storage:
            problems.append(self.unshared(where, found.storage))
        if found.unlocked:
            expected = f"to see locks (flock) of other machines in {self.root}"
            remedy = 'use a file system with locks (docs/cluster.md, "File systems without locks")'
            problems.append(sentence(where, expected, "none", remedy))
        if found.missing:
            return [*problems, sentence(where, environment, found.missing, same)]
        mine = {name: metadata.version(name) for name in LIBRARIES} | {"python": platform.python_version()}
        theirs = {name: str(getattr(found, name)) for name in mine}
        differing = [name for name, version in mine.items() if theirs[name] != version]
        if differing:
            expected, others = (", ".join(f"{name} {of[name]}" for name in differing) for of in (mine, theirs))
            problems.append(sentence(where, expected, others, same))
        if found.eavdash != digest():
            problems.append(sentence(where, "the same eavdash as here", "another version", same))
        if not found.gpu:
            remedy = "choose a partition with GPUs (--slurm partition=..., --slurm gres=gpu:1) or --device cpu"
            problems.append(sentence(where, "a GPU that torch can use", "none", remedy))
        return problems

    def unshared(self, where: str, found: str) -> str:
        """Return the sentence about a node that does not have the checkpoints folder."""
        expected = f"the checkpoints folder {self.root}, shared and writable"
        return sentence(where, expected, found, "keep it on storage that all nodes share (--checkpoints)")


def numbered_gpu(settings: Execution, remedy: str) -> list[str]:
    """Return a problem if the settings name a GPU by its number on a machine."""
    if not re.fullmatch(r"cuda:[1-9]\d*", settings.device):
        return []
    expected = "cuda (a job sees the GPUs that the cluster gives it, from 0)"
    return [sentence("--device", expected, settings.device, f"write --device cuda, and {remedy}")]


@contextlib.contextmanager
def prepared(root: Path) -> Iterator[Probe]:
    """Write the question and hold its lock; remove all files at the end."""
    nonce = secrets.token_hex(8)
    probe = Probe(root, nonce, queue_folder(root) / f"probe-{nonce}")
    probe.question.write_text(nonce, encoding="ascii")
    lock = locks.acquire(probe.question)
    try:
        yield probe
    finally:
        if lock is not None:
            os.close(lock)
        for file in probe.question.parent.glob(f"{probe.question.name}*"):
            file.unlink(missing_ok=True)


def printed(output: str) -> str:
    """Return the answer that a failed job printed, or else its last line."""
    lines = [line for line in output.splitlines() if line.strip()] or ["nothing"]
    return next((line.partition("eavdash-probe ")[2] for line in lines if "eavdash-probe {" in line), lines[-1])


@cache
def digest() -> str:
    """Return a digest of this copy of the package, to compare it with a node's copy."""
    home = Path(eavdash.__file__).resolve().parent
    total = hashlib.sha256()
    for file in sorted(home.rglob("*.py")):
        total.update(f"{file.relative_to(home)}\n".encode() + file.read_bytes())
    return total.hexdigest()[:16]
