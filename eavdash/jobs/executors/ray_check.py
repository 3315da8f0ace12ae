"""Checks of a Ray cluster before runs are submitted to it.

Checked are the package, the head, Ray's version, whether a node could ever provide the resources of a run, and on each
such node the storage and the Python environment: a small job per node (it requests no CPU, so that a busy node answers
too) reads and writes a file beside the queue and reports the result. A node that does not answer in time is only
noted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import shlex
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import eavdash
from eavdash.config.schema import Execution
from eavdash.errors import QueueError, sentence
from eavdash.jobs.executors import NOTE
from eavdash.jobs.executors.ray_head import Head, gpu_share, missing
from eavdash.processes import with_package
from eavdash.store import locks

#: The oldest Ray whose jobs can request memory.
OLDEST = (2, 8)
#: Seconds for all nodes together, and maximum number of nodes that are checked.
PROBE_TIMEOUT, MAX_PROBED = 30.0, 32
#: Script of the job on a node. Arguments: the file to read, its expected content, the file to write. The result is
#: written to that file, or printed if that fails: Ray keeps the last lines of a failed job only.
PROBE = """
import fcntl, json, platform, sys
from importlib import metadata
from pathlib import Path
found = {"python": platform.python_version()}
try:
    from eavdash.jobs.executors import ray_check
    found["eavdash"] = ray_check.digest()
except ImportError as error:
    found["import"] = str(error)
for name in ("torch", "numpy"):
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found[name] = "none"
try:
    with open(sys.argv[1], "r+") as question:
        if question.read() == sys.argv[2]:
            try:
                fcntl.flock(question, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found["unlocked"] = True  # although the checking process holds the lock
            except BlockingIOError:
                pass
            Path(sys.argv[3]).write_text(json.dumps(found))
            sys.exit(0)
    found["storage"] = "another folder of that name"
except OSError as error:
    found["storage"] = error.strerror or str(error)
print("eavdash-probe", json.dumps(found))
sys.exit(1)
"""


def check(head: Head, root: Path, settings: Execution) -> list[str]:
    """Return a sentence for each requirement that is not met."""
    if problem := missing():
        return [problem]
    if re.fullmatch(r"cuda:[1-9]\d*", settings.device):
        return [
            sentence(
                "--device",
                "cuda (a job sees the GPU that Ray gives it, from 0)",
                settings.device,
                "write --device cuda, and --runs-per-gpu to share it",
            )
        ]
    try:
        version = head.version()
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            return [sentence(f"Ray at {head.address}", f"Ray {oldest} or newer", version, "install a newer one there")]
        nodes = head.nodes()
        able = suitable_nodes(nodes, settings)
        return _probe(head, root, able) if able else [_no_suitable_node(head.address, nodes, settings)]
    except QueueError as error:
        return [str(error)]


def suitable_nodes(nodes: list[dict[str, Any]], settings: Execution) -> list[dict[str, Any]]:
    """Return the nodes that have, busy or not, all resources that one run requests."""
    requested = _requested(settings)
    return [node for node in nodes if all(_total_resources(node)[key] >= requested[key] for key in requested)]


def _no_suitable_node(address: str, nodes: list[dict[str, Any]], settings: Execution) -> str:
    each = sorted({_amount(_total_resources(node)) for node in nodes})
    return sentence(
        f"Ray at {address}",
        f"a node with {_amount(_requested(settings))} for a run",
        f"nodes with {' and with '.join(each)}" if each else "no node",
        "request less (--threads, --ram, --runs-per-gpu, --device cpu), or add a node that has it",
    )


def _requested(settings: Execution) -> dict[str, float]:
    return {"CPU": float(settings.threads), "GPU": gpu_share(settings), "memory": settings.ram * 2**30}


def _total_resources(node: dict[str, Any]) -> dict[str, float]:
    return {key: float(node["resources_total"].get(key, 0)) for key in ("CPU", "GPU", "memory")}


@cache
def digest() -> str:
    """Return a digest of this copy of the package, to compare it with a node's copy."""
    home = Path(eavdash.__file__).resolve().parent
    total = hashlib.sha256()
    for file in sorted(home.rglob("*.py")):
        total.update(f"{file.relative_to(home)}\n".encode() + file.read_bytes())
    return total.hexdigest()[:16]


def _probe(head: Head, root: Path, nodes: list[dict[str, Any]]) -> list[str]:
    """Check the storage and the environment of each node; return the problems found."""
    nonce = secrets.token_hex(8)
    folder = root / ".queue"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    question = folder / f"probe-{nonce}"
    question.write_text(nonce, encoding="ascii")
    asked: dict[str, tuple[str, Path]] = {}  # by submission id: the node and its answer file
    problems: list[str] = []
    lock = locks.acquire(question)
    try:
        for number, node in enumerate(nodes[:MAX_PROBED], start=1):
            resource = next(key for key in node["resources_total"] if key.startswith("node:") and "internal" not in key)
            name, answer = f"eavdash-probe-{nonce}-{number}", Path(f"{question}-{number}")
            command = ["env", f"PYTHONPATH={with_package({})['PYTHONPATH']}", sys.executable, "-P", "-c", PROBE]
            entrypoint = f"exec {shlex.join([*command, str(question), nonce, str(answer)])}"
            head.submit(name, entrypoint=entrypoint, entrypoint_resources={resource: 0.001})
            asked[name] = str(node["node_ip"]), answer
        waiting = dict(asked)
        deadline = time.monotonic() + PROBE_TIMEOUT
        while waiting and time.monotonic() < deadline:
            rows = head.jobs(fresh=True)[0]
            for name, (node_ip, answer) in list(waiting.items()):
                if name in rows and (text := _node_answer(rows[name], answer)) is not None:
                    del waiting[name]
                    problems += node_problems(node_ip, text, root)
            time.sleep(0.3)
        late = ", ".join(asked[name][0] for name in waiting)
        for name in waiting:
            with contextlib.suppress(QueueError):
                head.stop(name)
        notes = [f"{NOTE}Ray node {late}, which did not answer within {PROBE_TIMEOUT:.0f} s."] if late else []
        if len(nodes) > MAX_PROBED:
            notes.append(f"{NOTE}{len(nodes) - MAX_PROBED} of {len(nodes)} nodes of Ray at {head.address}.")
        return problems + notes
    finally:
        if lock is not None:
            os.close(lock)
        for file in folder.glob(f"{question.name}*"):
            file.unlink(missing_ok=True)


def _node_answer(row: Any, answer: Path) -> str | None:
    """Return the result of a node's job as JSON, or else the last line of its log; None if there is none yet."""
    if not row.status.is_terminal():
        return None
    if row.driver_exit_code == 0:
        # Network storage may show the written file late.
        return answer.read_text(encoding="utf-8") if answer.exists() else None
    lines = [line for line in str(row.message or "").splitlines() if line.strip()] or ["nothing"]
    return next((line.partition("eavdash-probe ")[2] for line in lines if "eavdash-probe {" in line), lines[-1])


def node_problems(node: str, answer: str, root: Path) -> list[str]:
    """Return a sentence for each problem in the answer of a node's job."""
    where = f"Ray node {node}"
    environment = f"Python {platform.python_version()} with eavdash at {sys.executable}"
    same = "give each node the same environment at the same path, or keep it on storage that all nodes share"
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError:
        return [sentence(where, environment, answer.strip().rstrip("."), same)]
    problems = []
    if "storage" in found:
        expected = f"the checkpoints folder {root}, shared and writable"
        remedy = "keep it on storage that all nodes share (--checkpoints)"
        problems.append(sentence(where, expected, found["storage"], remedy))
    if "unlocked" in found:
        expected = f"to see locks of other machines in {root}"
        remedy = 'use a file system with locks (docs/cluster.md, "File systems without locks")'
        problems.append(sentence(where, expected, "none", remedy))
    if "import" in found:
        return [*problems, sentence(where, environment, found["import"], same)]
    mine = {name: metadata.version(name) for name in ("torch", "numpy")} | {"python": platform.python_version()}
    differing = [name for name, version in mine.items() if found[name] != version]
    if differing:
        expected = ", ".join(f"{name} {mine[name]}" for name in differing)
        problems.append(sentence(where, expected, ", ".join(f"{name} {found[name]}" for name in differing), same))
    if found["eavdash"] != digest():
        problems.append(sentence(where, "the same eavdash as here", "another version", same))
    return problems


def _amount(resources: dict[str, float]) -> str:
    parts = [f"{resources['CPU']:g} CPU"]
    parts += [f"{resources['GPU']:g} GPU"] if resources["GPU"] else []
    parts += [f"{resources['memory'] / 2**30:.1f} GiB"] if resources["memory"] else []
    return ", ".join(parts)
