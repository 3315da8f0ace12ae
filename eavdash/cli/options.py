"""Options that several commands share, and the commands that steer the runs of a study.

In: parsers. Out: the same with more options, which the modules of ``commands/`` read. Nothing here loads what a command
needs to run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from eavdash.config.choices import EXECUTORS, STAGES


def add_execution(parser: argparse.ArgumentParser) -> None:
    """The options that say where and how runs are computed."""
    group = parser.add_argument_group("where and how runs are computed")
    group.add_argument("--executor", choices=EXECUTORS, default="local", help="default: this machine")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: %(default)s)")
    group.add_argument("--threads", type=int, default=1, metavar="N", help="cores of a run (default: %(default)s)")
    group.add_argument(
        "--ram", type=float, default=0.0, metavar="GIB", help="main memory of a run (default: as earlier ones took)"
    )
    group.add_argument("--runs-per-gpu", type=int, default=1, metavar="N", help="that share a GPU: 1, 2, 3, 4, 6 or 12")
    group.add_argument(
        "--memory", type=float, default=0.0, metavar="GIB", help="of a GPU that a run may take (default: all there is)"
    )
    group.add_argument("--compile", action="store_true", help="torch.compile; without it where that does not work")
    group.add_argument("--priority", type=int, default=0, metavar="N", help="higher goes first (default: %(default)s)")
    group.add_argument("--ray-address", default="", metavar="URL", help="of the Ray head, http://HOST:8265")
    group.add_argument(
        "--slurm", action="append", default=[], metavar="name=value", help="an option of sbatch, as partition=gpu"
    )


def add_choice(parser: argparse.ArgumentParser) -> None:
    """The options that choose runs."""
    parser.add_argument("--run", action="append", metavar="R", help="one run (may be repeated; default: all)")
    parser.add_argument("--subject", default="", metavar="1-3", help="only those of these subjects")
    parser.add_argument("--stage", default="", metavar="S,S", help=f"only those of {', '.join(STAGES)}")
    parser.add_argument("--fold", default="", metavar="0,1", help="only those of these folds")
    parser.add_argument("--seed", default="", metavar="0,1", help="only those of these seeds")


def steering(command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]) -> None:
    """What is done with a study's runs besides cancelling and retrying them."""
    paused = command("pause", "Let no further run of a study start.", *parents)
    paused.add_argument("study")
    paused.add_argument("--now", action="store_true", help="stop what runs as well; it goes on after its last epoch")
    command("resume", "Let the runs of a paused study go on.", *parents).add_argument("study")
    first = command("prioritise", "Let the waiting runs of a study go before or after others.", *parents)
    first.add_argument("study")
    first.add_argument("priority", type=int, help="higher goes first; runs are queued with 0")
    add_choice(first)
    moved = command("move", "Have unfinished runs computed elsewhere, from their last finished epoch on.", *parents)
    moved.add_argument("study")
    add_choice(moved)
    add_execution(moved)
    add_execution(command("executors", "Whether a place could compute runs: what it lacks.", *parents))
