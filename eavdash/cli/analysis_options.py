"""The commands that analyse a study's results, and their options.

In: what adds a command to the parser. Out: parsers whose options the modules of ``commands/`` read. As in
:mod:`eavdash.cli.options`, nothing heavy is imported.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from eavdash.config.choices import STAGES
from eavdash.explain.method_registry import METHODS

#: Option → its value and what it does; the values are read by eavdash/explain/changes.
_OPTIONS = {
    "drop": ("MODALITY", "without a modality, as in the coalitions of its Shapley values"),
    "swap": ("MODALITY=TRIAL[@SUBJECT]", "with a modality of another trial, of the same subject unless one is named"),
    "noise": ("MODALITY:DB", "with noise at this ratio of signal to noise, as in audio:10"),
    "shift": ("MODALITY:SECONDS", "with a modality later, or earlier if negative, as in eeg:0.5"),
    "mute": ("MODALITY:LOW-HIGH", "without a band in Hz, as in eeg:8-12 or audio:300-3000"),
    "mute-electrode": ("NAME,NAME", "with flat electrodes, as in Fz"),
    "cover": ("PART", "with a part of the face covered: mouth, eyes, brows, or a box: left,top,right,bottom in 0 to 1"),
    "silence": ("MODALITY:START-STOP", "with a stretch silent, flat or blank, in seconds, as in audio:1-2"),
}


def add_export(command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add ``export``."""
    text = "Write the runs that have ended for MLflow or TensorBoard: settings, epochs, scores; again: what changed."
    parser = command("export", text, *parents)
    parser.add_argument("study")
    parser.add_argument(
        "--to", required=True, choices=("mlflow", "tensorboard"), help="each is an extra: pip install 'eavdash[mlflow]'"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="default: ./mlflow or ./tensorboard; it may have other studies"
    )
    parser.add_argument(
        "--copy", action="store_true", help="copy the tables of predictions too (default: their paths and checksums)"
    )


def add_expressiveness(
    command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]
) -> None:
    """Add ``expressiveness``."""
    text = "Measure how expressive each modality was, beside how often it was right."
    parser = command("expressiveness", text, *parents)
    parser.add_argument("study")


def add_maps(command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add ``maps``."""
    text = "Average the stored explanations of a study by class, and test each class against the others."
    parser = command("maps", text, *parents)
    parser.add_argument("study")
    parser.add_argument("--stage", default="", choices=STAGES, help="a modality alone (default: the fusion, if any)")
    methods = [name for name, kind in METHODS.items() if kind.attribution]
    parser.add_argument(
        "--method", default="expected_gradients", choices=methods, help="of the explanations (default: %(default)s)"
    )
    parser.add_argument("--baseline", default="", help="of the explanations (default: the method's first)")


def add_report(command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add ``report``."""
    text = "Write a study's report: one HTML file that opens offline, made of what was run; nothing is computed anew."
    parser = command("report", text, *parents)
    parser.add_argument("study")
    parser.add_argument("--output", metavar="FILE", help="default: report.html in the study's folder")
    parser.add_argument("--figures", metavar="FOLDER", help="write every figure as PNG, SVG and CSV to this folder too")
    parser.add_argument(
        "--faces",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw pictures of faces below the maps (default: only of simulated recordings)",
    )


def add_representations(
    command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]
) -> None:
    """Add ``representations``."""
    text = "Place the test trials in two dimensions by what the models see in them: is it who, or what?"
    parser = command("representations", text, *parents)
    parser.add_argument("study")
    parser.add_argument("--again", action="store_true", help="also compute runs again whose representations are there")
    parser.add_argument("--device", default="cpu", help="for what has to be computed (default: %(default)s)")


def add_whatif(command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add ``whatif``."""
    text = "Print what a test trial's decision would have been with its recordings changed; changes combine."
    parser = command("whatif", text, *parents)
    parser.add_argument("study")
    parser.add_argument("--subject", required=True)
    parser.add_argument("--trial", required=True, metavar="T")
    changes = parser.add_argument_group("changes, made in their order and each as often as needed")
    for name, (value, help_text) in _OPTIONS.items():
        names = [f"--{name}", *(["--mute-band"] if name == "mute" else [])]
        changes.add_argument(*names, dest="changes", action=_Change, metavar=value, help=help_text, default=[])
    parser.add_argument("--stage", default="", choices=STAGES, help="a modality alone (default: the fusion, if any)")
    parser.add_argument("--fold", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", metavar="FILE", help="also write the answer to this file, as JSON")


class _Change(argparse.Action):
    """Keeps the changes of all options in the order in which they were given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        option = "mute" if option_string == "--mute-band" else str(option_string).removeprefix("--")
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (option, values)])
