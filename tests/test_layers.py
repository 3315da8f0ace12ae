"""Who may import whom (docs/architecture.md): each layer imports only what stands to its right."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
LOWEST = {"errors", "files", "config", "limits", "presets", "states", "store"}
#: For each part of the package, the parts it may import when it is loaded.
AT_LOAD = {
    "errors": set(),
    "config": {"errors"},
    "limits": {"config", "errors"},
    "files": {"errors"},
    "presets": {"config", "errors"},
    "states": {"files"},
    "store": {"errors", "files", "states"},
    "selection": {"errors"},
    "provenance": {"errors"},
    "datasets": LOWEST,
    "data": LOWEST,
    "models": LOWEST,
    "training": {"models", "data", *LOWEST},
    "explain": {"models", "data", *LOWEST},
    "jobs": LOWEST,
    "results": LOWEST,
    "planning": {"selection", "provenance", "jobs", *LOWEST},
    "study": {"planning", *LOWEST},
    "housekeeping": {"study", "planning", "jobs", *LOWEST},
    "probing": {"jobs", *LOWEST},
    "ui": {"housekeeping", "probing", "study", "planning", "selection", "datasets", "results", "jobs", *LOWEST},
    "importing": {"training", "models", "data", "study", "jobs", *LOWEST},
    "fetching": {"errors", "files"},
    "serve": LOWEST,
    "console": {"planning", *LOWEST},
    "cachekeeping": {"console", "selection", *LOWEST},
    "commands": {
        *(
            "probing",
            "console",
            "cachekeeping",
            "serve",
            "housekeeping",
            "study",
            "planning",
            "selection",
            "results",
            "jobs",
        ),
        *LOWEST,
    },
    "options": LOWEST,
    "cli": {"commands", "options", *LOWEST},
    "__main__": {"cli"},
}
#: What may be imported inside functions besides.
IN_FUNCTIONS = {
    "config": {"limits"},
    "planning": {"data", "models"},
    "study": {"data", "jobs"},
    "ui": {"data", "explain", "serve"},
    "cachekeeping": {"data"},
    "commands": {"data", "explain", "training", "importing", "fetching"},
}
#: Single files that are the start of the worker process, where the layers meet.
EXCEPTIONS = {"jobs/worker.py": {"training", "explain"}}
HEAVY = ("torch", "torchvision", "torchaudio", "timm", "mne", "captum")


def package_files() -> list[Path]:
    return sorted((REPO / "eavdash").rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(REPO / "eavdash").with_suffix("").parts[0]


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Parts of eavdash imported at load time and inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    load: set[str] = set()
    late: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "eavdash":
                names = [f"eavdash.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "eavdash" and len(parts) > 1 and not parts[1].startswith("__"):
                (late if id(node) in inside else load).add(parts[1])
    return load, late


@pytest.mark.parametrize("path", package_files(), ids=lambda p: str(p.relative_to(REPO)))
def test_a_module_imports_only_what_stands_to_its_right(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    load, late = imports(path)
    extra = EXCEPTIONS.get(str(path.relative_to(REPO / "eavdash")), set())
    allowed = AT_LOAD[part] | {part} | extra
    assert load <= allowed, f"{path} imports {sorted(load - allowed)} when it is loaded"
    assert late <= allowed | IN_FUNCTIONS.get(part, set()), f"{path} imports {sorted(late - allowed)} in functions"


def test_the_layer_check_sees_a_planted_import(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("from eavdash.data import table\ndef f():\n    from eavdash import models\n")
    assert imports(planted) == ({"data"}, {"models"})


def test_only_the_app_the_pages_and_ui_import_streamlit() -> None:
    for path in package_files():
        if part_of(path) != "ui":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
            names |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
            assert "streamlit" not in names, path


def test_pages_are_one_folder_down() -> None:
    assert not list((REPO / "pages").glob("*.py"))
    assert len(list((REPO / "pages").glob("*/*.py"))) == 9


def test_nothing_that_a_page_loads_imports_the_heavy_libraries() -> None:
    """Load everything the pages import, in a fresh interpreter, and look at what came with it."""
    lines = set()
    for path in [REPO / "app.py", *(REPO / "pages").glob("*/*.py"), *(REPO / "eavdash" / "ui").glob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("eavdash"):
                lines.add(f"from {node.module} import {', '.join(a.name for a in node.names)}")
    lines.add("import eavdash.cli, eavdash.commands")
    code = "import sys\n" + "\n".join(sorted(lines)) + f"\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout.strip() == "[]"
