"""The command line: every page's work without a browser.

This module says which commands and options there are; ``eavdash.cli.commands`` carries them out. Exit codes: 0 done,
1 the work failed, 2 wrong use. Every error is one sentence on standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from eavdash import __version__
from eavdash.cli.options import add_choice, add_execution, steering
from eavdash.config.choices import PROTOCOLS
from eavdash.errors import EavdashError


def parser() -> argparse.ArgumentParser:
    """The argument parser, with the name of the handler of each command in ``handler``."""
    top = argparse.ArgumentParser(
        prog="eavdash",
        allow_abbrev=False,  # "--stage" for "--stages" would be taken by one command and mean another thing to the next
        description="Train, compare and explain emotion recognition from EEG, audio and video.",
        epilog="exit codes: 0 done, 1 the work failed, 2 wrong use",
    )
    top.add_argument("--version", action="version", version=f"eavdash {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--checkpoints", metavar="DIR", help="where studies live (default: ./checkpoints)")
    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument("--json", action="store_true", help="print JSON for a program to read")

    def command(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=list(parents), allow_abbrev=False)
        made.set_defaults(handler=name.replace("-", "_"))
        return made

    demo = command("demo", "Make the demo recordings, train everything, print the table, open the app.", place)
    demo.add_argument(
        "--out", default="demo-data", metavar="DIR", help="folder of the recordings (default: %(default)s)"
    )
    demo.add_argument("--subjects", type=int, default=3, metavar="N", help="how many subjects (default: %(default)s)")
    demo.add_argument("--serve", action=argparse.BooleanOptionalAction, default=True, help="open the app at the end")
    demo.add_argument("--port", type=int, default=8501, help="first port to try (default: %(default)s)")

    check = command("check", "Health report of a dataset; exit code 1 when trials cannot be used.", place, machine)
    check.add_argument("root", help="dataset folder or trial table")
    check.add_argument("--csv", metavar="FOLDER", help="write the report's tables there, one CSV file each")
    check.add_argument("--contact-sheet", metavar="FOLDER", help="write a picture of each subject's faces there")
    check.add_argument("--no-faces", action="store_true", help="do not look for faces, which takes most of the time")
    check.add_argument("--preset", default="quick", help="settings that the recordings are for (default: %(default)s)")
    check.add_argument("--protocol", choices=PROTOCOLS, help="show what this one makes of the trials, not all")
    check.add_argument("--set", dest="settings", action="append", default=[], metavar="key=value", help="one setting")

    _cache(command("cache", "What has been read and kept: list it, clear it, or fill it.", place, machine))

    make = command("make-demo", "Make simulated recordings in EAV's layout.", machine)
    make.add_argument("folder", help="where to make them")
    make.add_argument("--subjects", type=int, default=3, metavar="N", help="how many subjects (default: %(default)s)")
    make.add_argument("--full", action="store_true", help="EAV's real sizes: 20 s trials, 640x480 video at 30 fps")
    make.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: %(default)s)")

    _train(command("train", "Queue the runs of a study; the jobs go on in the background.", place, machine))

    status = command("status", "State of every study, or of every run of one.", place, machine)
    status.add_argument("study", nargs="?")
    steering(command, (place, machine))
    for name, text in (
        ("cancel", "Stop runs; a running one dies, a queued one never starts."),
        ("retry", "Queue failed and cancelled runs again, from their last finished epoch."),
    ):
        acted = command(name, text, place, machine)
        acted.add_argument("study")
        add_choice(acted)

    _studies(command, [place, machine])

    logs = command("logs", "What a run's worker printed.", place)
    logs.add_argument("run", metavar="STUDY/RUN")
    logs.add_argument("--lines", type=int, default=0, metavar="N", help="only the last N lines")

    results = command("results", "Accuracy per subject and stage on test trials.", place, machine)
    results.add_argument("study")
    results.add_argument("--level", choices=("trial", "window", "frame"), default="trial")
    results.add_argument("--by", default="", metavar="fold,seed", help="also split by fold, seed or both")
    results.add_argument("--split", default="", metavar="COLUMN", help="also split by a column of the trial table")
    results.add_argument("--baselines", action="store_true", help="add what every learned fusion has to beat")
    results.add_argument("--trials", action="store_true", help="every tested trial instead of scores")
    results.add_argument("--format", choices=("table", "csv", "json", "latex"), default="table")

    probe = command("probe", "Leakage probes of a study; what they find stays beside its accuracy.", place, machine)
    probe.add_argument("study")
    probe.add_argument("--probes", default="shuffled,time,identity", metavar="P,P", help="default: %(default)s")
    probe.add_argument("--device", default="cpu")

    explain = command("explain", "Attributions, attention and receipts of one trial, to files.", place, machine)
    explain.add_argument("study")
    explain.add_argument("--subject", required=True)
    explain.add_argument("--trial", required=True)
    explain.add_argument("--method", default="integrated_gradients", choices=("integrated_gradients",))
    explain.add_argument("--fold", type=int)
    explain.add_argument("--seed", type=int)
    explain.add_argument("--device", default="cpu")
    explain.add_argument(
        "--steps", type=int, default=32, metavar="N", help="of the integral; more make the gap smaller (default: 32)"
    )

    _checkpoints(
        command("import-checkpoint", "The reference method's checkpoints of one subject as a study.", place, machine)
    )
    fetch = command("fetch-weights", "A ViT or AST of the Hugging Face hub, at one revision, to a folder.", machine)
    fetch.add_argument("model", metavar="OWNER/NAME")
    fetch.add_argument("--revision", required=True, metavar="HEX", help="the 40 digits of a commit")
    fetch.add_argument("--sha256", default="", metavar="HEX", help="checksum that the weights must have")
    fetch.add_argument("--out", metavar="DIR", help="folder to make (default: weights/OWNER--NAME)")

    app = command("app", "Open the dashboard on 127.0.0.1.", place)
    app.add_argument("--port", type=int, default=8501, help="first port to try (default: %(default)s)")
    return top


def _studies(command: Callable[..., argparse.ArgumentParser], common: Sequence[argparse.ArgumentParser]) -> None:
    """What one does with studies as a whole."""
    listed = command("studies", "Every study: how far, how large, of what.", *common)
    listed.add_argument("--archived", action="store_true", help="also those that were archived")
    clone = command("clone", "A new study on the same dataset, with settings edited.", *common)
    extend = command("extend", "Add subjects, folds or seeds to a study; only what was never queued is.", *common)
    away = command("archive", "Keep a study out of lists, pickers and the queue; its results stay.", *common)
    back = command("unarchive", "Take a study out of the archive.", *common)
    delete = command("delete", "Delete a study for good; never while a run of it is under way.", *common)
    verify = command("verify", "Compare a study's files with their checksums; exit code 1 when one differs.", *common)
    for made in (clone, extend, away, back, delete, verify):
        made.add_argument("study")
    clone.add_argument("name", metavar="NEW", help="name of the new study")
    clone.add_argument("--set", dest="settings", action="append", default=[], metavar="key=value", help="one setting")
    for made, without in ((clone, "those of the study"), (extend, "no more")):
        made.add_argument("--subjects", default="", metavar="all|1-42", help=f"default: {without}")
        made.add_argument("--folds", default="", metavar="all|0,1", help=f"default: {without}")
        made.add_argument("--seeds", default="", metavar="0,1", help=f"default: {without}")
    clone.add_argument("--queue", action=argparse.BooleanOptionalAction, default=True, help="queue its runs")
    clone.add_argument("--dry-run", action="store_true", help="say what would differ and run, and write nothing")
    extend.add_argument("--again", action="store_true", help="queue failed and cancelled runs again as well")
    away.add_argument("--drop-resume", action="store_true", help="delete what its unfinished runs would go on from")
    delete.add_argument("--yes", action="store_true", help="without typing the study's name")


def _cache(cache: argparse.ArgumentParser) -> None:
    actions = cache.add_subparsers(dest="action", required=True, metavar="ACTION")
    common = argparse.ArgumentParser(add_help=False)
    # Given before or after the action: a default here would overrule what came before it.
    common.add_argument("--checkpoints", metavar="DIR", default=argparse.SUPPRESS, help="where studies live")
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[common])

    action("list", "What lies in the cache, how large it is and when it was last used.")
    clear = action("clear", "Delete from the cache; what is needed again is made again.")
    clear.add_argument("keys", nargs="*", metavar="KEY", help="of eavdash cache list, or the beginning of one")
    clear.add_argument("--older-than", type=float, metavar="DAYS", help="what was not used for so long")
    clear.add_argument("--all", action="store_true", help="everything")
    clear.add_argument("--dry-run", action="store_true", help="say what would be deleted")
    build = action("build", "Read a dataset's windows before a study is trained, on all processors.")
    _dataset(build)
    build.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: as many as processors)")
    build.add_argument("--dry-run", action="store_true", help="say how much room it takes, and write nothing")


def _checkpoints(imported: argparse.ArgumentParser) -> None:
    imported.add_argument("root", help="dataset folder (EAV at any level) or trial table")
    imported.add_argument("--study", required=True, metavar="NAME", help="other subjects may be added to it later")
    imported.add_argument("--subject", required=True, metavar="S", help="whose checkpoints they are")
    for stage, text in (
        ("vision", "Hugging Face ViT with its classifier"),
        ("audio", "Hugging Face AST with its classifier"),
        ("eeg", "EEG encoder"),
    ):
        imported.add_argument(f"--{stage}", metavar="FILE", help=f"state dict of the {text}")
    imported.add_argument("--fusion", "--multimodal", metavar="FILE", help="state dict of the fusion")
    imported.add_argument(
        "--labels", default="", metavar="L,L", help="classes in the files' order (default: as the published code)"
    )
    imported.add_argument(
        "--order", default="vision,audio,eeg", metavar="M,M", help="in which the fusion joins (default: %(default)s)"
    )
    imported.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="key=value", help="one setting"
    )
    imported.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: %(default)s)")


def _dataset(train: argparse.ArgumentParser) -> None:
    """Which recordings, and which configuration reads them."""
    train.add_argument("root", help="dataset folder (EAV at any level) or trial table")
    train.add_argument("--subjects", metavar="1-42", help="default: all")
    train.add_argument("--stages", default="", metavar="S,S", help="default: the preset's (vision,audio,eeg,fusion)")
    train.add_argument("--preset", default="quick", help="quick or paper (default: %(default)s)")
    train.add_argument("--set", dest="settings", action="append", default=[], metavar="key=value", help="one setting")
    train.add_argument(
        "--where",
        action="append",
        metavar="column=value",
        help="only trials whose column has this value (may be repeated), or all (default: EAV's speaking trials)",
    )
    train.add_argument("--protocol", choices=PROTOCOLS, help="default: the preset's")
    train.add_argument("--epochs", type=int, metavar="N", help="the same number for every stage")


def _train(train: argparse.ArgumentParser) -> None:
    _dataset(train)
    train.add_argument("--study", required=True, metavar="NAME")
    train.add_argument("--folds", default="all", metavar="all|0,1")
    train.add_argument("--seeds", default="0", metavar="0,1")
    add_execution(train)
    train.add_argument("--dry-run", action="store_true", help="say what would run, and write nothing")
    train.add_argument("--wait", action="store_true", help="stay until every run has ended; exit code 1 if one failed")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(argv)
    from eavdash.cli import commands

    try:
        commands.check_place(options)
        return int(getattr(commands, options.handler)(options) or 0)
    except EavdashError as error:
        print(f"eavdash: {error}", file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        # Whatever was asked for: the folder is another user's.
        print(f"eavdash: {error.filename}: {error.strerror}; ask its owner, or choose another folder", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("eavdash: stopped; jobs that were queued go on in the background.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away: not an error of ours, and there is nobody left to tell.
        sys.stderr.close()
        return 0
