"""The project's English: words that docs/glossary.md rules out appear in no message, docstring, comment or document."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
GLOSSARY = REPO / "docs" / "glossary.md"
#: Names on disk that keep an old word (docs/architecture.md, "Files").
KEPT = re.compile(r"conductor(-[^\s`\"']*)?\.(lock|log)\S*|conductor@|`conductor`|[\"']conductor[\"']|jobs\.conductor")


def avoided() -> list[str]:
    """The words in the left column of the glossary's last table."""
    table = GLOSSARY.read_text(encoding="utf-8").partition("## Words we avoid")[2]
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", table, flags=re.MULTILINE)
    return [word.strip() for row in rows if row != "not" for word in row.split(",")]


def pattern(words: list[str]) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", re.IGNORECASE)


def texts(path: Path) -> list[tuple[int, str]]:
    """Line and text of what a person may read: all of a document; strings and comments of a module."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        if path == GLOSSARY:
            content = content.partition("## Words we avoid")[0]
        return list(enumerate(content.splitlines(), start=1))
    tokens = tokenize.generate_tokens(io.StringIO(content).readline)
    return [(token.start[0], token.string) for token in tokens if token.type in (tokenize.STRING, tokenize.COMMENT)]


def found_in(path: Path, words: list[str]) -> list[str]:
    return [
        f"{path.name}:{line}: {match[0]}"
        for line, text in texts(path)
        for match in pattern(words).finditer(KEPT.sub("", text))
    ]


def readable() -> list[Path]:
    modules = [REPO / "app.py", *(REPO / "pages").rglob("*.py"), *(REPO / "eavdash").rglob("*.py")]
    documents = [REPO / "README.md", REPO / "checkpoints" / "README.md", *(REPO / "docs").rglob("*.md")]
    return sorted(modules + documents)


@pytest.mark.parametrize("path", readable(), ids=lambda p: str(p.relative_to(REPO)))
def test_no_text_has_a_word_that_the_glossary_rules_out(path: Path) -> None:
    assert found_in(path, avoided()) == []


def test_a_planted_word_is_found_in_messages_comments_and_documents(tmp_path: Path) -> None:
    words = avoided()
    assert {"mend", "whoever", "foreman", "hence"} <= set(words)
    module, document = tmp_path / "a.py", tmp_path / "a.md"
    module.write_text('x = f"Mend it: {y}"  # whoever reads this\nmend = "conductor.lock"\n', encoding="utf-8")
    document.write_text("All is well.\nBury it.\n", encoding="utf-8")
    assert found_in(module, words) == ["a.py:1: Mend", "a.py:1: whoever"]
    assert found_in(document, words) == ["a.md:2: Bury"]


def test_docstrings_begin_with_a_verb_or_a_noun_phrase() -> None:
    wrong = []
    for path in (path for path in readable() if path.suffix == ".py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                first = (ast.get_docstring(node) or "").split(" ")[0]
                if first in ("What", "Whether", "How", "Who", "Why", "Where", "Which", "When"):
                    wrong.append(f"{path.relative_to(REPO)}: {getattr(node, 'name', 'module')}: {first}")
    assert not wrong, wrong
