"""The parts that a report is made of; the template (page.html) shows each kind."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import plotly.graph_objects as go

from eavdash.text import cell, csv_for_people, visible


def data_address(content: bytes, kind: str) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Text:
    """A paragraph; ``mark``: "warning" or "failed" for one that must be seen."""

    text: str
    mark: str = ""
    kind: str = "text"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    lines: Sequence[str]
    kind: str = "bullets"


@dataclass(frozen=True)
class Code:
    """Lines for a shell."""

    lines: Sequence[str]
    kind: str = "code"


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it is shown; ``exported``: what its link to a CSV file gives, with the columns of the caveats."""

    title: str
    frame: pd.DataFrame
    exported: pd.DataFrame | None = None
    note: str = ""
    kind: str = "table"

    @property
    def head(self) -> list[str]:
        return [visible(name) for name in self.frame.columns]

    @property
    def rows(self) -> list[list[str]]:
        return [[visible(cell(value)) for value in row] for row in self.frame.itertuples(index=False)]

    @property
    def csv(self) -> str:
        """The address of the CSV file; empty without one."""
        if self.exported is None:
            return ""
        return data_address(csv_for_people(self.exported).encode("utf-8", "backslashreplace"), "text/csv")


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure: interactive where scripts run, otherwise, and on paper, its picture ``svg``."""

    name: str
    title: str
    caption: str
    figure: go.Figure
    svg: bytes
    table: bytes  # as CSV
    kind: str = "figure"

    @property
    def json(self) -> str:
        """The figure for the script; nothing in it can end the element that holds it."""
        return str(self.figure.to_json()).replace("<", "\\u003c").replace("\u2028", "").replace("\u2029", "")

    @property
    def picture(self) -> str:
        return data_address(self.svg, "image/svg+xml")

    @property
    def csv(self) -> str:
        return data_address(self.table, "text/csv")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture (PNG) with its title and lines below; ``failed``: why it is not to be believed, or empty."""

    title: str
    png: bytes
    failed: str = ""
    table: Table | None = None
    kind: str = "picture"

    @property
    def picture(self) -> str:
        return data_address(self.png, "image/png")


Block = Text | Bullets | Code | Table | Figure | Picture


@dataclass(eq=False)
class Section:
    """One section of a report."""

    name: str
    title: str
    blocks: list[Block] = field(default_factory=list)
