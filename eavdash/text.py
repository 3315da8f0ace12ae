"""Names, numbers and sizes as text: natural order, counted nouns, bytes, and names where a language would read them.

Names of subjects, trials, labels, channels, columns and files come from strangers, and what shows them reads languages:
Markdown, Plotly's tags, the terminal's control sequences, formulas, LaTeX. The functions here return a name such that
each of these shows it as it was written. They are applied where everything passes: figures in ``ui.widgets.chart``,
the command line in ``cli.console``; a page wraps each name in :func:`markdown`.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: Characters that move the cursor, end the line or turn the direction of what follows; those that have no picture
#: (Unicode's Default_Ignorable_Code_Point: joiners, fillers, selectors, tags; annotations and Braille's blank);
#: and bytes that are not UTF-8.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: After Markdown is parsed, Streamlit still makes links of addresses, pictures of ``:names:`` and symbols of ``--`` in
#: the text; only a character inside them prevents it. This one has no width and no break.
_JOINER = "\u2060"
_BEFORE_JOINER = re.compile(
    r":(?=//|[\w+-]+:|material/)|www(?=\.)|(?<=[-.\w+])(?=@[-\w])|(?<!\S)[-<>~](?=(?:->?|>|=)(?!\S))", re.IGNORECASE
)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#$|~:&]|^[-+=]|(?<=\d)[.)](?=\s))")
#: First characters of a formula, also in their wide forms, and of what a spreadsheet removes to find one.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # After the end of a row, these would be its optional argument.
    "[": "{[}",
    "*": "{*}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


@functools.lru_cache(maxsize=100_000)
def natural_key(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A sort key that puts "2" before "10" and "s2" before "s10"; different texts never compare equal."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple(_number_key(p.lstrip("0")) if "0" <= p[0] <= "9" else (1, 0, p.casefold()) for p in parts), text


def _number_key(digits: str) -> tuple[int, int, str]:
    """Sort key of a number of any length: Python converts no more than 4,300 digits."""
    return 0, len(digits), digits


def natural_order(texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct texts in natural order."""
    return tuple(sorted({str(t) for t in texts}, key=natural_key))


def shortened(text: str, most: int = 200) -> str:
    """Return a text of at most ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def parts(text: str) -> tuple[str, ...]:
    """Return the parts of a list such as ``a, b`` or ``"a, b", c`` without blanks and empty parts."""
    try:
        found = [part for line in csv.reader(text.splitlines(), skipinitialspace=True) for part in line]
    except csv.Error:
        found = text.split(",")
    return tuple(part.strip() for part in found if part.strip())


def listing(names: Iterable[object]) -> str:
    """Return the list of which :func:`parts` are these names: ``a,b`` or ``"a, b",c``."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun, such as ``1 trial``, ``1,200 trials`` or, with ``nouns``, ``2 studies``."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def p_value(p: float) -> str:
    """Return a p value as text; small ones as ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def with_stop(text: str) -> str:
    """Return a sentence with a full stop, unless it is empty or ends with punctuation already."""
    return text if not text or text[-1] in ".!?:…" else f"{text}."


def size(number: int) -> str:
    """Return a number of bytes as text, such as ``12 GB`` or ``2.0 kB``."""
    value, unit = float(max(0, number)), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def visible(text: object, keep: str = "") -> str:
    """Return a text with what cannot be seen as escapes: control characters (``\\x1b``), joiners, invalid bytes.

    ``keep``: control characters that stay, such as line ends in a text of our own.
    """

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        if character in keep:
            return character
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:
            code -= 0xDC00  # a byte of a file name that is not UTF-8
        plain = f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
        return _ESCAPES.get(character, plain)

    return _UNSEEN.sub(escape, str(text))


def json_text(document: str) -> str:
    """Return a JSON document with JSON's own escapes for what :func:`visible` escapes; its content stays the same."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] in "\n\t\r" else json.dumps(found[0])[1:-1], document)


def markdown(text: object) -> str:
    """Return Markdown, of Streamlit's kind, that shows a text as it is: no link, emphasis, list, formula or picture."""
    joined = _BEFORE_JOINER.sub(lambda match: match[0] + _JOINER, visible(text))
    return _MARKDOWN.sub(r"\\\1", joined)


def code(text: object) -> str:
    """Return a code span of Markdown, whatever backticks the text holds."""
    shown = visible(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def figure_text(text: str) -> str:
    """Return a text of a Plotly figure as it is: no tag, template or formula. A line end becomes Plotly's ``<br>``."""
    shown = visible(text, keep="\n").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return shown.replace("$", "&#36;").replace("%{", "&#37;{").replace("\n", "<br>")


def is_utf8(text: str) -> bool:
    """Return False for a text with bytes that are not UTF-8, as names of files may have: no document can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Escape bytes that are not UTF-8 in ``text``, so that it can be printed and stored."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def latex(text: object) -> str:
    """Return a text as LaTeX that typesets it as it is, also as the first cell of a table's row."""
    return "".join(_LATEX.get(character, character) for character in visible(text))


def cell(value: Any) -> str:
    """Return the text of a table's cell; empty if it has no value."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def no_formula(text: str) -> str:
    """Return a text with ``'`` before it if a spreadsheet would read a formula; numbers stay as they are."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def csv_for_people(frame: pd.DataFrame) -> str:
    """Return a frame as CSV that may be opened in a spreadsheet: texts that would be formulas begin with ``'``.

    Not for the files that programs read back (``splits.csv``, ``trials.csv``), whose names must stay as they are.
    """

    def cell(value: Any) -> Any:
        return no_formula(value) if isinstance(value, str) else value

    import pandas as pd

    safe = frame.rename(columns=cell)
    for n, kind in enumerate(frame.dtypes):
        if kind.kind not in "biufcmM":
            # As objects: pandas' own texts must be UTF-8, and names of files need not.
            cells = pd.Series([cell(value) for value in frame.iloc[:, n]], frame.index, dtype=object)
            safe.isetitem(n, cells)  # type: ignore[arg-type]  # a list of cells is one
    return str(safe.to_csv(index=False))
