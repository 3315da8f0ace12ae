"""The table of all encoders in docs/models.md: ``python -m eavdash.models.reference``.

In: the catalogue, and the accuracies that docs/evaluation.md has from a benchmark. Out: the page with the table between
its two marks; the rest of the page stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eavdash.models.catalogue import entry_of, offered

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- encoders: begin -->\n", "<!-- encoders: end -->\n"
HEAD = ("setting", "encoder", "input", "licence", "size (parameters)", "trained", "needs", "accuracy here, %")
#: The columns of docs/evaluation.md that a measured accuracy is taken from.
_COLUMNS = ("data", "protocol", "model", "accuracy, %", "n")


def page(docs: Path = DOCS) -> str:
    """Return docs/models.md with today's table."""
    before, _, rest = (docs / "models.md").read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return before + BEGIN + table((docs / "evaluation.md").read_text(encoding="utf-8")) + END + after


def table(evaluation: str) -> str:
    """Return the Markdown table of the encoders; ``evaluation``: the page with measured accuracies."""
    rows = [
        (
            f"`{entry.modality}.encoder={entry.name}`",
            *(entry.title, entry.expects, entry.licence, entry.size, entry.trained, entry.needs),
            "; ".join(_accuracies(evaluation, entry.modality, entry.name)),
        )
        for entry in offered()
    ]
    lines = (HEAD, ("---",) * len(HEAD), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _accuracies(evaluation: str, modality: str, name: str) -> Iterator[str]:
    """Yield what was measured with an encoder, per model of a library, data and protocol."""
    for row in _measured(evaluation):
        found = entry_of(modality, row["model"])
        if found is not None and found.name == name:
            which = f"{row['model']}, " if row["model"] != name else ""
            scaling = row.get("scaling by person", "off")
            how = f", {scaling}" if scaling != "off" else ""
            yield f"{which}{row['data']}, {row['protocol']}{how}: {row['accuracy, %']} (n = {row['n']})"


def _measured(evaluation: str) -> Iterator[dict[str, str]]:
    """Yield the rows of the tables that have all of the columns."""
    head: list[str] = []
    for line in evaluation.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not head and set(_COLUMNS) <= set(cells):
            head = cells
        elif head and len(cells) == len(head):
            yield dict(zip(head, cells, strict=True))
        else:
            head = []


if __name__ == "__main__":
    (DOCS / "models.md").write_text(page(), encoding="utf-8")
