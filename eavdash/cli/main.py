"""The command line, which can do all that the pages do.

This module defines the commands and their options; ``eavdash.cli.commands`` carries them out. Exit codes: 0 success,
1 failure, 2 wrong usage. Every error is one sentence on standard error.
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Sequence

from eavdash import __version__
from eavdash.cli.analysis_options import (
    add_export,
    add_expressiveness,
    add_maps,
    add_report,
    add_representations,
    add_whatif,
)
from eavdash.cli.options import (
    add_checkpoints,
    add_data_folders,
    add_execution,
    add_explaining,
    add_for_study,
    add_merging,
    add_planting,
    add_run_commands,
    add_run_selection,
    add_serving,
    add_shapley,
    add_sweep,
    add_tasks,
    add_unusable,
)
from eavdash.config.choices import PROTOCOLS
from eavdash.config.presets import PRESET_HELP
from eavdash.errors import EavdashError
from eavdash.text import shortened, visible


def parser() -> argparse.ArgumentParser:
    """Return the argument parser; it stores the name of each command's handler in ``handler``."""
    top = argparse.ArgumentParser(
        prog="eavdash",
        allow_abbrev=False,  # "--stage" would be "--stages" for one command and another option elsewhere
        description="Train, compare and explain emotion recognition from EEG, audio and video.",
        epilog="exit codes: 0 success, 1 failure, 2 wrong usage",
    )
    top.add_argument("--version", action="version", version=f"eavdash {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--checkpoints", metavar="DIR", help="folder of the studies (default: ./checkpoints)")
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON")

    def command(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, parents=list(parents), allow_abbrev=False)
        added.set_defaults(handler=name.replace("-", "_"))
        return added

    demo = command("demo", "Make the demo recordings, train on them, print the scores, open the dashboard.", folder)
    demo.add_argument(
        "--out", default="demo-data", metavar="DIR", help="folder of the recordings (default: %(default)s)"
    )
    demo.add_argument("--subjects", type=int, default=3, metavar="N", help="number of subjects (default: %(default)s)")
    demo.add_argument(
        "--serve", action=argparse.BooleanOptionalAction, default=True, help="open the dashboard at the end"
    )
    add_serving(demo)
    add_data_folders(demo)

    check = command(
        "check", "Check a dataset and print a health report; exit code 1 if trials cannot be used.", folder, as_json
    )
    check.add_argument("root", help="dataset folder or trial table")
    check.add_argument("--csv", metavar="FOLDER", help="write the report's tables to this folder, one CSV file each")
    check.add_argument(
        "--contact-sheet", metavar="FOLDER", help="write a picture of each subject's faces to this folder"
    )
    check.add_argument("--no-faces", action="store_true", help="skip face detection, which takes most of the time")
    check.add_argument(
        "--preset", default="quick", help="check the recordings for the settings of this preset (default: %(default)s)"
    )
    check.add_argument("--protocol", choices=PROTOCOLS, help="show only the folds of this protocol")
    check.add_argument("--set", dest="settings", action="append", default=[], metavar="key=value", help="one setting")
    add_merging(check)
    add_for_study(check)

    _cache(command("cache", "List, clear or fill the cache of preprocessed recordings.", folder, as_json))

    make = command("make-demo", "Make simulated recordings in EAV's layout.", as_json)
    make.add_argument("folder", help="output folder")
    make.add_argument("--subjects", type=int, default=3, metavar="N", help="number of subjects (default: %(default)s)")
    make.add_argument("--full", action="store_true", help="EAV's real sizes: 20 s trials, 640x480 video at 30 fps")
    make.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: %(default)s)")
    add_planting(make)

    _train(command("train", "Queue the runs of a study; they run in the background.", folder, as_json))

    status = command("status", "Print the state of every study, or of every run of one study.", folder, as_json)
    status.add_argument("study", nargs="?")
    add_run_commands(command, (folder, as_json))
    for name, text in (
        ("cancel", "Cancel queued and running runs."),
        ("retry", "Queue failed and cancelled runs again; they resume after their last finished epoch."),
    ):
        acted = command(name, text, folder, as_json)
        acted.add_argument("study")
        add_run_selection(acted)

    _studies(command, [folder, as_json])

    logs = command("logs", "Print the log of a run.", folder)
    logs.add_argument("run", metavar="STUDY/RUN")
    logs.add_argument("--lines", type=int, default=0, metavar="N", help="only the last N lines")

    add_tasks(command, (folder, as_json))

    results = command("results", "Print the accuracy on test trials per subject and stage.", folder, as_json)
    results.add_argument("study")
    results.add_argument("--level", choices=("trial", "window", "frame"), default="trial")
    metrics = ("accuracy", "balanced_accuracy", "macro_f1")
    results.add_argument("--metric", choices=metrics, help="print this metric alone, and compare in it")
    results.add_argument("--by", default="", metavar="fold,seed", help="also split by fold, seed or both")
    results.add_argument("--split", default="", metavar="COLUMN", help="also split by a column of the trial table")
    results.add_argument("--baselines", action="store_true", help="add the baselines of encoders and fusion")
    results.add_argument("--trials", action="store_true", help="print every test trial instead of scores")
    results.add_argument("--format", choices=("table", "csv", "json", "latex"), default="table")

    probe = command("probe", "Run leakage probes on a study; their results are kept with its scores.", folder, as_json)
    probe.add_argument("study")
    probe.add_argument("--probes", default="shuffled,time,identity", metavar="P,P", help="default: %(default)s")
    probe.add_argument("--device", default="cpu")

    add_maps(command, (folder, as_json))
    add_representations(command, (folder, as_json))
    add_expressiveness(command, (folder, as_json))
    add_report(command, (folder, as_json))
    add_export(command, (folder, as_json))
    add_shapley(command("shapley", "Print what each modality adds to the decisions of the fusion.", folder, as_json))
    explain = command(
        "explain", "Explain decisions on test trials: write attributions and attention to files.", folder, as_json
    )
    add_explaining(explain)
    add_whatif(command, (folder, as_json))
    receipts = command(
        "receipts", "Check finished runs: do their maps depend on what was learned? Kept beside them.", folder, as_json
    )
    receipts.add_argument("study")
    receipts.add_argument("--run", action="append", metavar="R", help="one run (may be repeated; default: all)")
    receipts.add_argument("--again", action="store_true", help="also check runs again that have receipts")
    receipts.add_argument("--device", default="cpu")

    add_checkpoints(
        command(
            "import-checkpoint", "Import the reference method's checkpoints of one subject as a study.", folder, as_json
        )
    )
    fetch = command("fetch-weights", "Download a ViT or AST from the Hugging Face Hub, at one revision.", as_json)
    fetch.add_argument("model", metavar="OWNER/NAME")
    fetch.add_argument("--revision", required=True, metavar="HEX", help="full commit hash, 40 hex digits")
    fetch.add_argument("--sha256", default="", metavar="HEX", help="expected checksum of the weights")
    fetch.add_argument("--out", metavar="DIR", help="output folder (default: weights/OWNER--NAME)")

    command("encoders", "List the encoders: input, licence, size, what each needs, and what is installed.", as_json)

    app = command("app", "Open the dashboard on 127.0.0.1.", folder)
    add_serving(app)
    add_data_folders(app)
    return top


def _studies(command: Callable[..., argparse.ArgumentParser], common: Sequence[argparse.ArgumentParser]) -> None:
    """Add the commands that act on whole studies."""
    listed = command("studies", "List all studies with their progress, size, dataset and protocol.", *common)
    listed.add_argument("--archived", action="store_true", help="include archived studies")
    clone = command("clone", "Make a new study on the same dataset with other settings.", *common)
    extend = command("extend", "Add subjects, folds or seeds to a study and queue the new runs.", *common)
    archive = command("archive", "Hide a study from lists, pickers and the queue; its results stay.", *common)
    unarchive = command("unarchive", "Take a study out of the archive.", *common)
    delete = command("delete", "Delete a study permanently; not possible while its runs are active.", *common)
    verify = command("verify", "Compare a study's files with their checksums; exit code 1 if one differs.", *common)
    relocate = command("relocate", "Point a study to the folder to which its dataset has moved.", *common)
    for sub in (clone, extend, archive, unarchive, delete, verify, relocate):
        sub.add_argument("study")
    relocate.add_argument("root", help="the dataset's new folder or trial table")
    clone.add_argument("name", metavar="NEW", help="name of the new study")
    clone.add_argument("--set", dest="settings", action="append", default=[], metavar="key=value", help="one setting")
    for sub, default in ((clone, "those of the study"), (extend, "none")):
        sub.add_argument("--subjects", default="", metavar="all|1-42", help=f"default: {default}")
        sub.add_argument("--folds", default="", metavar="all|0,1", help=f"default: {default}")
        sub.add_argument("--seeds", default="", metavar="0,1", help=f"default: {default}")
    clone.add_argument("--queue", action=argparse.BooleanOptionalAction, default=True, help="queue its runs")
    clone.add_argument("--dry-run", action="store_true", help="print the differences and the runs; write nothing")
    extend.add_argument("--again", action="store_true", help="also queue failed and cancelled runs again")
    archive.add_argument(
        "--drop-resume", action="store_true", help="delete the checkpoints from which unfinished runs would resume"
    )
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _cache(cache: argparse.ArgumentParser) -> None:
    actions = cache.add_subparsers(dest="action", required=True, metavar="ACTION")
    common = argparse.ArgumentParser(add_help=False)
    # These options may come before or after the action; a default here would override one given before it.
    common.add_argument("--checkpoints", metavar="DIR", default=argparse.SUPPRESS, help="folder of the studies")
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[common])

    action("list", "List the entries of the cache with their size and last use.")
    clear = action("clear", "Delete entries of the cache; they are made again when needed.")
    clear.add_argument("keys", nargs="*", metavar="KEY", help="key from eavdash cache list, or its beginning")
    clear.add_argument("--older-than", type=float, metavar="DAYS", help="delete entries not used for so many days")
    clear.add_argument("--all", action="store_true", help="delete all entries")
    clear.add_argument("--dry-run", action="store_true", help="print what would be deleted; delete nothing")
    build = action("build", "Preprocess a dataset before training, on all processors.")
    _dataset(build)
    build.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: as many as processors)")
    build.add_argument("--dry-run", action="store_true", help="print the disk space that it needs; write nothing")


def _dataset(train: argparse.ArgumentParser) -> None:
    """Add the options for the recordings and the configuration."""
    train.add_argument("root", help="dataset folder (EAV at any level) or trial table")
    train.add_argument("--subjects", metavar="1-42", help="default: all")
    train.add_argument("--stages", default="", metavar="S,S", help="default: the preset's (vision,audio,eeg,fusion)")
    presets = "; ".join(f"{name}: {text}" for name, text in PRESET_HELP.items())
    train.add_argument("--preset", default="quick", help=f"{presets} (default: %(default)s)")
    train.add_argument("--set", dest="settings", action="append", default=[], metavar="key=value", help="one setting")
    train.add_argument(
        "--where",
        action="append",
        metavar="column=value",
        help="only trials whose column has this value (may be repeated), or all (default: EAV's speaking trials)",
    )
    train.add_argument("--protocol", choices=PROTOCOLS, help="default: the preset's")
    train.add_argument("--epochs", type=int, metavar="N", help="number of epochs of every stage")
    add_merging(train)


def _train(train: argparse.ArgumentParser) -> None:
    _dataset(train)
    train.add_argument("--study", required=True, metavar="NAME")
    train.add_argument("--folds", default="all", metavar="all|0,1")
    train.add_argument("--seeds", default="0", metavar="0,1")
    add_sweep(train)
    add_execution(train)
    add_unusable(train)
    train.add_argument(
        "--dry-run", action="store_true", help="print the runs; exit code 1 if one could not be computed"
    )
    train.add_argument("--wait", action="store_true", help="wait for all runs to end; exit code 1 if one failed")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(argv)
    from eavdash.cli import commands
    from eavdash.cli.commands.execution import check_setup

    try:
        check_setup(options)
        return int(getattr(commands, options.handler)(options) or 0)
    except EavdashError as error:
        print(visible(f"eavdash: {error}"), file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        # Any command may meet a folder of another user.
        where = visible(f"eavdash: {error.filename}: {error.strerror}")
        print(f"{where}; ask its owner, or choose another folder", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        where = visible(f"eavdash: {shortened(str(error.filename))}: {error.strerror}")
        print(f"{where}; choose another path", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("eavdash: stopped; queued jobs continue in the background.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe: no error, and no reader for a message.
        sys.stderr.close()
        return 0
