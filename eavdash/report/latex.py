r"""Tables as LaTeX: scores in the layout of the reference paper's Table I, and any other table as it is.

In: frames of ``eavdash.results`` and the study's caveats. Out: a text for ``\input``; it needs the packages booktabs
and, where a table is long, longtable. Every name is escaped; characters beyond ASCII stay, and a comment names them.
"""

from __future__ import annotations

import re

import pandas as pd

from eavdash.report import theme
from eavdash.report.caveats import Caveats
from eavdash.report.figures.answer import metric_name
from eavdash.report.figures.results import averages, stages_of
from eavdash.text import cell, latex, natural_order

LONG = 45  # rows from which on a table does not fit on a page


def score_table(scores: pd.DataFrame, about: Caveats, level: str = "trial", metric: str = "accuracy") -> str:
    """Return subjects x stages in per cent, and below them the mean ± standard deviation over subjects.

    ``scores``: from ``tables.scores``, one row per subject and stage. A subject without a stage has a dash.
    """
    stages = stages_of(scores)
    keys = zip(scores["subject"], scores["stage"], strict=True)
    cells = dict(zip(keys, scores[metric].tolist(), strict=True))
    rows = [
        [latex(name), *(f"{100 * cells[name, s]:.1f}" if (name, s) in cells else "--" for s in stages)]
        for name in natural_order(scores["subject"])
    ]
    mean = {row["stage"]: row for row in averages(scores, metric).to_dict("records")}
    last = [_mean(100 * mean[s][metric], 100 * mean[s]["sd"]) if s in mean else "--" for s in stages]
    counts = sorted({int(row["subjects"]) for row in mean.values()})
    unequal = f" Means are over {counts[0]} to {counts[-1]} subjects." if len(counts) > 1 else ""
    caption = f"{metric_name(metric)} per {level} on test trials, in per cent.{unequal} {about.footnote}"
    head = ["Subject", *(latex(theme.label(stage)) for stage in stages)]
    foot = [["Average", *last]] if mean else []
    return _table(head, rows, foot, caption, f"tab:{about.study}-{level}", "l" + "r" * len(stages))


def plain_table(frame: pd.DataFrame, about: Caveats, caption: str, name: str) -> str:
    """Return a frame as it is, column by column; ``name``: of its label, behind the study's."""
    numbers = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    rows = [[latex(cell(value)) for value in row] for row in frame.itertuples(index=False)]
    columns = "".join("r" if number else "l" for number in numbers)
    head = [latex(column) for column in frame.columns]
    return _table(head, rows, [], f"{caption} {about.footnote}", f"tab:{about.study}-{name}", columns)


def _table(
    head: list[str], rows: list[list[str]], foot: list[list[str]], caption: str, label: str, columns: str
) -> str:
    def line(cells: list[str]) -> str:
        return " & ".join(cells) + r" \\"

    body = [*map(line, rows), *([r"\midrule"] if rows and foot else []), *map(line, foot)]
    named = rf"\caption{{{latex(caption)}}}", rf"\label{{{re.sub(r'[^A-Za-z0-9:.-]', '-', label)}}}"
    titled = [r"\toprule", line(head), r"\midrule"]
    if len(rows) + len(foot) > LONG:
        lines = [rf"\begin{{longtable}}{{{columns}}}", "".join(named) + r" \\", *titled, r"\endfirsthead"]
        lines += [*titled, r"\endhead", r"\bottomrule", r"\endfoot", *body, r"\end{longtable}"]
        needed = "booktabs, longtable"
    else:
        lines = [r"\begin{table}", r"\centering", *named, rf"\begin{{tabular}}{{{columns}}}", *titled, *body]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        needed = "booktabs"
    text = "\n".join(lines)
    notes = [f"% Needs the packages {needed}." if "," in needed else f"% Needs the package {needed}."]
    if beyond := sorted({c for c in text if ord(c) > 127}):
        some = " ".join(f"U+{ord(c):04X}" for c in beyond[:20])
        notes.append(f"% Characters beyond ASCII ({some}{' ...' if len(beyond) > 20 else ''}): use XeLaTeX or LuaLaTeX")
        notes.append("% with a font that has them.")
    return "\n".join([*notes, text])


def _mean(mean: float, spread: float) -> str:
    return f"{mean:.1f}" if spread != spread else rf"{mean:.1f} $\pm$ {spread:.1f}"
