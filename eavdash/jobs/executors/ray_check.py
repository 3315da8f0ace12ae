"""Checks of a Ray cluster before runs are submitted to it.

Checked are the package, the head, Ray's version, whether a node could ever provide the resources of a run, and on each
such node, by a probe (probe.py), the storage and the Python environment. The probe requests no CPU, so that a busy node
answers too; a node that does not answer in time is only noted.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path
from typing import Any

from eavdash.config.schema import Execution
from eavdash.errors import QueueError, sentence
from eavdash.jobs.executors import NOTE
from eavdash.jobs.executors.probe import numbered_gpu, prepared, printed
from eavdash.jobs.executors.ray_head import Head, gpu_share, missing
from eavdash.store.processes import with_package

#: The oldest Ray whose jobs can request memory.
OLDEST = (2, 8)
#: Seconds for all nodes together, and maximum number of nodes that are checked.
PROBE_TIMEOUT, MAX_PROBED = 30.0, 32


def check(head: Head, root: Path, settings: Execution) -> list[str]:
    """Return a sentence for each requirement that is not met."""
    if problem := missing():
        return [problem]
    if problems := numbered_gpu(settings, "share it with --runs-per-gpu"):
        return problems
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


def _probe(head: Head, root: Path, nodes: list[dict[str, Any]]) -> list[str]:
    """Check the storage and the environment of each node; return the problems found."""
    with prepared(root) as probe:
        waiting: dict[int, str] = {}  # by the number of the node: its address
        job = f"eavdash-probe-{probe.nonce}"
        for number, node in enumerate(nodes[:MAX_PROBED], start=1):
            resource = next(key for key in node["resources_total"] if key.startswith("node:") and "internal" not in key)
            command = ["env", f"PYTHONPATH={with_package({})['PYTHONPATH']}", *probe.command(number)]
            entrypoint = f"exec {shlex.join(command)}"
            head.submit(f"{job}-{number}", entrypoint=entrypoint, entrypoint_resources={resource: 0.001})
            waiting[number] = str(node["node_ip"])
        problems: list[str] = []
        deadline = time.monotonic() + PROBE_TIMEOUT
        while waiting and time.monotonic() < deadline:
            rows = head.jobs(fresh=True)[0]
            for number, address in list(waiting.items()):
                row = rows.get(f"{job}-{number}")
                if row is None or not row.status.is_terminal():
                    continue
                answer = printed(str(row.message or "")) if row.driver_exit_code else probe.answer(number)
                if answer is not None:
                    del waiting[number]
                    problems += probe.problems(f"Ray node {address}", answer)
            time.sleep(0.3)
        for number in waiting:
            with contextlib.suppress(QueueError):
                head.stop(f"{job}-{number}")
        if late := ", ".join(waiting.values()):
            problems.append(f"{NOTE}Ray node {late}, which did not answer within {PROBE_TIMEOUT:.0f} s.")
        if len(nodes) > MAX_PROBED:
            problems.append(f"{NOTE}{len(nodes) - MAX_PROBED} of {len(nodes)} nodes of Ray at {head.address}.")
        return problems


def _amount(resources: dict[str, float]) -> str:
    parts = [f"{resources['CPU']:g} CPU"]
    parts += [f"{resources['GPU']:g} GPU"] if resources["GPU"] else []
    parts += [f"{resources['memory'] / 2**30:.1f} GiB"] if resources["memory"] else []
    return ", ".join(parts)
