"""The reference of all commands as Markdown: ``python -m eavdash.cli.reference > docs/commands.md``.

In: the argument parser of :mod:`eavdash.cli.main`. Out: for each command what it does, how it is called, and a table of
its arguments. The text is the same with every version of Python, unlike argparse's own help.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from eavdash.cli.main import parser

HEAD = """# Commands

Every command of `eavdash`, made from its argument parser by `python -m eavdash.cli.reference > docs/commands.md`.
`eavdash COMMAND --help` prints the same. Options cannot be abbreviated; one that "may be repeated" is given once for
each value. Results go to standard output, remarks and progress to standard error. Exit codes: 0 success, 1 failure, 2
wrong usage.
"""
#: Options that stand in many commands and are described once.
COMMON = {
    "--checkpoints": "folder of the studies (default: `EAVDASH_CHECKPOINTS`, otherwise ./checkpoints)",
    "--json": "print JSON for programs",
}
#: What arguments without a help text mean wherever they stand.
MEANINGS = {
    "study": "name of a study",
    "device": "where to compute: cpu, cuda or cuda:1 ...",
    "fold": "a run of this fold",
    "seed": "a run with this seed",
    "subject": "a person",
    "trial": "a test trial of that person",
    "run": "name of a run, as eavdash status STUDY lists it",
    "model": "a repository of the Hugging Face Hub",
}


def reference() -> str:
    """Return the page."""
    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    rows = "\n".join(f"| `{name}` | {text} |" for name, text in COMMON.items())
    common = f"## Options of most commands\n\n| option | meaning |\n|---|---|\n{rows}"
    return "\n".join([HEAD, common, *(_command(name, sub) for name, sub in commands.choices.items())]) + "\n"


def _command(name: str, command: argparse.ArgumentParser, level: int = 2) -> str:
    """Return the section of a command, and of the actions that it has."""
    parts = [f"\n{'#' * level} {name}\n\n{_cell(command.description or '')}\n\n    {_usage(command)}"]
    if rows := list(_rows(command)):
        parts.append("\n| argument | meaning |\n|---|---|\n" + "\n".join(rows))
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            known = dict.fromkeys(action.choices)  # the order they were added in
            parts += [_command(f"{name} {sub}", action.choices[sub], level + 1) for sub in known]
    return "\n".join(parts)


def _usage(command: argparse.ArgumentParser) -> str:
    """Return one line: the command, its positional arguments, and the options without which it cannot be called."""
    words = [command.prog]
    choices = {id(a): group for group in command._mutually_exclusive_groups for a in group._group_actions}
    done: set[int] = set()
    for action in command._actions:
        group = choices.get(id(action))
        if isinstance(action, argparse._SubParsersAction):
            words.append(str(action.metavar))
        elif group is not None and group.required and id(group) not in done:
            done.add(id(group))
            words.append("(" + " | ".join(_signature(one) for one in group._group_actions) + ")")
        elif group is None and action.required and action.option_strings:
            words.append(_signature(action))
        elif not action.option_strings:
            word = _signature(action)
            words.append({"?": f"[{word}]", "*": f"[{word} ...]", "+": f"{word} ..."}.get(str(action.nargs), word))
    return " ".join([*words, "[options]"])


def _rows(command: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a row of the table for each argument that is not common to most commands, after the title of its group."""
    for group in command._action_groups:
        rows = []
        for action in group._group_actions:
            common = set(action.option_strings) & {*COMMON, "--help"}
            if not common and not isinstance(action, argparse._SubParsersAction):
                name = _signature(action).replace("|", "\\|")
                rows.append(f"| `{name}` | {_help(action, command)} |")
        if rows and group.title not in ("options", "positional arguments"):
            yield f"| **{group.title}** | |"
        yield from rows


def _signature(action: argparse.Action) -> str:
    """Return an argument as it is typed."""
    if not action.option_strings:
        return str(action.metavar or action.dest).upper()
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    shown = " ".join(value) if isinstance(value, tuple) else str(value)
    return f"{', '.join(action.option_strings)} {shown}{' ...' if action.nargs in ('+', '*') else ''}"


def _help(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    """Return the help of an argument with its default, and whether it may be repeated."""
    default = action.default
    text = (action.help or MEANINGS.get(action.dest, "")) % {**vars(action), "prog": command.prog, "default": default}
    shown = default not in (None, "", False, True, [], (), 0, 0.0, argparse.SUPPRESS) and "default" not in text
    notes = [f"default: {default}"] if shown else []
    if isinstance(action, argparse.BooleanOptionalAction):
        notes.append(f"default: {'yes' if default else 'no'}")
    if type(action).__name__ == "_AppendAction" and "repeated" not in text and "often" not in text:
        notes.append("may be repeated")
    return _cell(f"{text} ({'; '.join(notes)})".strip() if notes else text)


def _cell(text: str) -> str:
    """Return a text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    print(reference(), end="")
