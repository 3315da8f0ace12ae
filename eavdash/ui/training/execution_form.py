"""The launch form's widgets for where and how runs are computed: this machine, a Ray cluster or SLURM.

Out: a :class:`eavdash.config.schema.Execution`, and on request a check of the executor.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.config.choices import EXECUTORS
from eavdash.config.schema import Execution
from eavdash.errors import EavdashError
from eavdash.text import markdown
from eavdash.ui.draft import kept

LABELS = {"local": "This machine", "ray": "Ray cluster", "slurm": "SLURM"}
SHARES = (1, 2, 3, 4, 6, 12)


#: The widgets with their values in an empty form.
EMPTY: dict[str, Any] = {
    "executor": "local",
    "device": "auto",
    "priority": 0,
    "threads": 1,
    "ram": None,
    "shares": 1,
    "ray": "",
    "slurm": "",
}
DEVICES = ("auto", "cpu", "cuda")
#: The least and the most of each number.
LIMITS: dict[str, tuple[float, float]] = {"priority": (-10_000, 10_000), "threads": (1, 512), "ram": (0.0, 4096.0)}


def form(page: str) -> Execution:
    """Show the settings under keys ``<page>_…`` and return their values."""
    key = partial(kept, page)
    _fill(page)
    with st.expander("Where and how it is computed", key=f"{page}_placing"):
        first, second, third = st.columns(3)
        executor = str(first.selectbox("Computed by", EXECUTORS, format_func=LABELS.__getitem__, **key("executor")))
        device = str(second.selectbox("Device", DEVICES, **key("device")))
        priority = third.number_input(
            "Priority", *map(int, LIMITS["priority"]), help="Higher starts first.", **key("priority")
        )
        first, second, third = st.columns(3)
        threads = first.number_input("Cores per run", *map(int, LIMITS["threads"]), **key("threads"))
        ram = second.number_input(
            "Main memory per run, GiB",
            *LIMITS["ram"],
            None,
            placeholder="As earlier runs",
            help="Runs start only when this memory is free. Empty: the peak of earlier runs of the same stage.",
            **key("ram"),
        )
        shared = third.selectbox("Runs per GPU", SHARES, help="Each gets its share of the memory.", **key("shares"))
        address, options = "", ""
        if executor == "ray":
            address = st.text_input("Address of the Ray head", placeholder="http://127.0.0.1:8265", **key("ray"))
        if executor == "slurm":
            options = st.text_input(
                "Options of sbatch", placeholder="partition=gpu time=04:00:00 gres=gpu:1", **key("slurm")
            )
    return Execution(
        device=device,
        executor=executor,
        threads=int(threads),
        priority=int(priority),
        runs_per_gpu=int(shared),
        ram=float(ram or 0),
        ray_address=address.strip(),
        slurm=tuple(options.split()),
    )


def check_button(root: Path, settings: Execution, page: str) -> None:
    """Show a button that checks the executor, and the outcome of the check."""
    if not st.button(
        f"Check {LABELS[settings.executor]}",
        help="Checks commands and services, shared storage, the Python environment, and the requested resources.",
        key=f"{page}_check",
    ):
        return
    from eavdash.jobs.preflight import preflight

    with st.spinner("Checking ..."):
        try:
            unmet, notes = preflight(root, settings)
        except EavdashError as error:
            unmet, notes = [str(error)], []
    for line in unmet:
        st.error(markdown(line))
    for line in notes:
        st.info(markdown(line))
    if not unmet:
        st.success(f"{LABELS[settings.executor]}: ready to compute runs.")


def _fill(page: str) -> None:
    """Give each widget a value that it can show; an address may have said anything."""
    options = {"executor": EXECUTORS, "device": DEVICES, "shares": SHARES}
    for name, empty in EMPTY.items():
        state, key = st.session_state, f"{page}_{name}"
        value = state.setdefault(key, empty)
        low, high = LIMITS.get(name, (-math.inf, math.inf))
        shown = (
            value in options[name] if name in options else name not in LIMITS or value is None or low <= value <= high
        )
        if not shown:
            state[key] = empty
