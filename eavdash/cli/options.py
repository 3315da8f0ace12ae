"""Options that several commands share, and the commands that control the runs of a study.

In: parsers. Out: the same parsers with more options, which the modules of ``commands/`` read. This module imports
nothing heavy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from eavdash.config.choices import EXECUTORS, STAGES, UNUSABLE
from eavdash.explain.method_registry import METHODS, NONE


def add_planting(parser: argparse.ArgumentParser) -> None:
    """Add the options for what simulated recordings contain."""
    parser.add_argument(
        "--plant",
        default="",
        metavar="NAME",
        help="how often the modalities follow the label, from the fourth subject on: graded (one never, one sometimes, "
        "one mostly; the default) or varied (one never, two mostly)",
    )
    parser.add_argument(
        "--cues",
        metavar="NAMES",
        help="what the voice expresses emotions by: pitch, loudness, rate, formants, separated by commas, or none, a "
        "control (default: all)",
    )


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the options for where and how runs are computed."""
    group = parser.add_argument_group("where and how runs are computed")
    group.add_argument("--executor", choices=EXECUTORS, default="local", help="default: this machine")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: %(default)s)")
    group.add_argument("--threads", type=int, default=1, metavar="N", help="CPU cores per run (default: %(default)s)")
    group.add_argument(
        "--ram",
        type=float,
        default=0.0,
        metavar="GIB",
        help="main memory per run (default: as much as earlier runs used)",
    )
    group.add_argument("--runs-per-gpu", type=int, default=1, metavar="N", help="runs per GPU: 1, 2, 3, 4, 6 or 12")
    group.add_argument(
        "--memory", type=float, default=0.0, metavar="GIB", help="GPU memory that a run may use (default: all)"
    )
    group.add_argument("--compile", action="store_true", help="use torch.compile where it works")
    group.add_argument(
        "--priority", type=int, default=0, metavar="N", help="higher starts first (default: %(default)s)"
    )
    group.add_argument("--ray-address", default="", metavar="URL", help="address of the Ray head, http://HOST:8265")
    group.add_argument(
        "--slurm", action="append", default=[], metavar="name=value", help="option of sbatch, such as partition=gpu"
    )


def add_unusable(parser: argparse.ArgumentParser) -> None:
    """Add the options for trials whose recordings cannot be used."""
    group = parser.add_argument_group("trials whose recordings cannot be used (default: left out by name)")
    group.add_argument("--strict", action="store_true", help=UNUSABLE["--strict"])
    for option in ("--leave-out", "--keep"):
        group.add_argument(option, nargs="+", action="extend", default=[], metavar="REASON", help=UNUSABLE[option])


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the option that makes several studies."""
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="key=a,b",
        help="several values of a setting: a study for each, named after it; repeated, for each combination of values",
    )


def add_explaining(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``explain``: which trials, and what to explain about them."""
    parser.add_argument("study")
    parser.add_argument("--subject", help="required with --trial")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--trial", metavar="T", help="one trial")
    which.add_argument(
        "--trials", metavar="test|wrong|T,T", help="several test trials, of all subjects unless one is named"
    )
    parser.add_argument("--stage", default="", choices=STAGES, help="a modality alone (default: the fusion, if any)")
    parser.add_argument(
        "--method",
        default="expected_gradients",
        choices=tuple(METHODS),
        help="default: %(default)s",
    )
    parser.add_argument(
        "--target", default="predicted", metavar="CLASS", help="predicted, true or a class (default: %(default)s)"
    )
    parser.add_argument(
        "--against",
        default="",
        metavar="CLASS",
        help="contrast it with true, runner-up or a class (default: with none)",
    )
    parser.add_argument(
        "--baseline", default="", choices=("mean", "training", "mixed", NONE), help="default: the method's first"
    )
    parser.add_argument("--fold", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--steps", type=int, default=0, metavar="N", help="steps of each integral (default: as many as it needs)"
    )
    parser.add_argument(
        "--no-receipts", action="store_true", help="do not check the maps, which takes longer than computing them"
    )
    parser.add_argument(
        "--truth",
        default="",
        metavar="FILE",
        help="truth.json of simulated recordings: print how often the maps of --trials find what was planted",
    )


def add_merging(parser: argparse.ArgumentParser) -> None:
    """Add the options that take labels, or subjects, as one where only their spelling differs: two settings."""
    for what, example in (("labels", "Happy, happy"), ("subjects", "S01, s01")):
        parser.add_argument(
            f"--merge-{what}",
            dest="settings",
            action="append_const",
            const=f"names.{what}=merged",
            help=f"take {what} that differ only in case, blanks or zeros as one ({example}; 1, 1.0)",
        )


def add_data_folders(parser: argparse.ArgumentParser) -> None:
    """Add the option for the folders that the dashboard may read."""
    parser.add_argument(
        "--data",
        nargs="+",
        action="extend",
        metavar="DIR",
        help="folders that the dashboard may read, besides known datasets (default: the current folder)",
    )


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Add the options for where the dashboard is served, and to whom."""
    group = parser.add_argument_group("who may open the dashboard")
    group.add_argument("--port", type=int, default=8501, help="first port to try (default: %(default)s)")
    group.add_argument("--address", default="127.0.0.1", metavar="IP", help="listen here (default: %(default)s)")
    group.add_argument(
        "--allowed-hosts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further names in the dashboard's address, besides 127.0.0.1 and localhost",
    )
    group.add_argument(
        "--no-token", action="store_true", help="let every user of this machine in; only on a loopback address"
    )


def add_run_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that select runs."""
    parser.add_argument("--run", action="append", metavar="R", help="one run (may be repeated; default: all)")
    parser.add_argument("--subject", default="", metavar="1-3", help="only runs of these subjects")
    parser.add_argument("--stage", default="", metavar="S,S", help=f"only runs of these stages: {', '.join(STAGES)}")
    parser.add_argument("--fold", default="", metavar="0,1", help="only runs of these folds")
    parser.add_argument("--seed", default="", metavar="0,1", help="only runs with these seeds")


def add_tasks(command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the command for background tasks."""
    tasks = command("tasks", "List the background tasks, or cancel, retry or read one.", *parents)
    tasks.add_argument("action", nargs="?", choices=("list", "cancel", "retry", "log"), default="list")
    tasks.add_argument("task", nargs="?", metavar="ID", help="as in the list, such as probe-7")


def add_shapley(parser: argparse.ArgumentParser) -> None:
    """Add the options for Shapley values, which are computed for finished fusion runs that lack them."""
    parser.add_argument("study")
    parser.add_argument("--run", action="append", metavar="R", help="one run (may be repeated; default: all)")
    parser.add_argument("--device", default="cpu", help="for what has to be computed (default: %(default)s)")


def add_for_study(check: argparse.ArgumentParser) -> None:
    """Add the options of a check that does only what planning a study needs."""
    check.add_argument(
        "--for-study",
        action="store_true",
        help="only look at what a study with these settings reads, and print what it would leave out",
    )
    check.add_argument("--subjects", metavar="1-3,7", help="with --for-study: subjects of the study (default: all)")


def add_checkpoints(imported: argparse.ArgumentParser) -> None:
    """Add the options for the reference method's checkpoints."""
    imported.add_argument("root", help="dataset folder (EAV at any level) or trial table")
    imported.add_argument(
        "--study", required=True, metavar="NAME", help="name of the study; other subjects can be added to it later"
    )
    imported.add_argument("--subject", required=True, metavar="S", help="subject of the checkpoints")
    for stage, text in (
        ("vision", "Hugging Face ViT with its classifier"),
        ("audio", "Hugging Face AST with its classifier"),
        ("eeg", "EEG encoder"),
    ):
        imported.add_argument(f"--{stage}", metavar="FILE", help=f"state dict of the {text}")
    imported.add_argument("--fusion", "--multimodal", metavar="FILE", help="state dict of the fusion")
    imported.add_argument(
        "--labels",
        default="",
        metavar="L,L",
        help="classes in the order of the files' last layer (default: as in the published code)",
    )
    imported.add_argument(
        "--order",
        default="vision,audio,eeg",
        metavar="M,M",
        help="order in which the fusion joins the features (default: %(default)s)",
    )
    imported.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="key=value", help="one setting"
    )
    imported.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: %(default)s)")


def add_run_commands(
    command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]
) -> None:
    """Add the commands that control a study's runs, except cancel and retry."""
    pause = command("pause", "Pause a study: no further run of it starts.", *parents)
    pause.add_argument("study")
    pause.add_argument(
        "--now", action="store_true", help="also stop running runs; they resume after their last finished epoch"
    )
    command("resume", "Resume a paused study.", *parents).add_argument("study")
    prioritise = command("prioritise", "Change the priority of a study's waiting runs.", *parents)
    prioritise.add_argument("study")
    prioritise.add_argument("priority", type=int, help="higher starts first; the default priority is 0")
    add_run_selection(prioritise)
    move = command(
        "move",
        "Move unfinished runs to another executor or device; they resume after their last finished epoch.",
        *parents,
    )
    move.add_argument("study")
    add_run_selection(move)
    add_execution(move)
    add_execution(
        command("executors", "Check whether an executor can compute runs, and print what is missing.", *parents)
    )
