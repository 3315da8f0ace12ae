"""Where and how runs are computed, as widgets of the launch form: this machine, a Ray cluster or SLURM.

Out: a :class:`eavdash.config.schema.Execution`. Whether the place could compute runs is asked of the place itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.config.choices import EXECUTORS
from eavdash.config.schema import Execution
from eavdash.errors import EavdashError
from eavdash.ui import widgets

LABELS = {"local": "This machine", "ray": "Ray cluster", "slurm": "SLURM"}
SHARES = (1, 2, 3, 4, 6, 12)


def form(page: str) -> Execution:
    """Draw the settings under keys ``<page>_…`` and read them."""

    def key(name: str) -> dict[str, Any]:
        return {"key": f"{page}_{name}", "persist_state": "session"}

    with st.expander("Where and how it is computed", key=f"{page}_placing"):
        first, second, third = st.columns(3)
        executor = str(first.selectbox("Computed by", EXECUTORS, format_func=LABELS.__getitem__, **key("executor")))
        device = str(second.selectbox("Device", ("auto", "cpu", "cuda"), **key("device")))
        priority = third.number_input("Priority", -10_000, 10_000, 0, help="Higher goes first.", **key("priority"))
        first, second, third = st.columns(3)
        threads = first.number_input("Cores per run", 1, 512, 1, **key("threads"))
        ram = second.number_input(
            "Main memory per run, GiB",
            0.0,
            4096.0,
            None,
            placeholder="As earlier runs took",
            help="Runs start only while their memory is free. Empty: what earlier runs of the same stage took at most.",
            **key("ram"),
        )
        shared = third.selectbox("Runs per GPU", SHARES, help="Each gets its part of the memory.", **key("shares"))
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
    """A button that asks the place what it lacks, and its answer."""
    if not st.button(
        f"Check {LABELS[settings.executor]}",
        help="Commands and services, shared storage, the Python environment, and whether it has what runs ask for.",
        key=f"{page}_check",
    ):
        return
    from eavdash.jobs.preflight import preflight

    with st.spinner("Asking ..."):
        try:
            wrong, unsure = preflight(root, settings)
        except EavdashError as error:
            wrong, unsure = [str(error)], []
    for line in wrong:
        st.error(widgets.escape_markdown(line))
    for line in unsure:
        st.info(widgets.escape_markdown(line))
    if not wrong:
        st.success(f"{LABELS[settings.executor]}: all that runs need is there.")
