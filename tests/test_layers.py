"""Who may import whom (docs/architecture.md): each floor of the house imports only from the floors below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
#: The rooms of ``eavdash/``, floor by floor from the ground.
FLOORS = (
    {"errors", "text"},
    {"config", "store"},
    {"data", "models", "results", "demo"},
    {"training", "health", "explain"},
    {"jobs"},
    {"studies"},
    {"report"},
    {"ui", "cli"},
    {"__main__"},
)
HEAVY = ("torch", "torchvision", "torchaudio", "timm", "mne", "captum")


def package_files() -> list[Path]:
    return sorted((REPO / "eavdash").rglob("*.py"))


def module_of(path: Path) -> str:
    parts = list(path.relative_to(REPO).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in package_files()}


def floor_of(module: str) -> int:
    """The floor that a module stands on.

    Raises:
        KeyError: its room stands on none.
    """
    room = module.split(".")[1]
    for height, rooms in enumerate(FLOORS):
        if room in rooms:
            return height
    raise KeyError(f"{room} is on no floor: add it to FLOORS and to docs/architecture.md")


def imports(source: str) -> set[str]:
    """The modules of eavdash that a module imports, inside functions too; those for type checking alone left out."""
    tree = ast.parse(source)
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {
                full if (full := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            }
    return {name for name in names if name in MODULES and name != "eavdash"}


def test_every_room_stands_on_one_floor() -> None:
    rooms = {module.split(".")[1] for module in MODULES if module != "eavdash"}
    assert rooms == set().union(*FLOORS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_floors_below(module: str) -> None:
    if module == "eavdash":
        return
    for name in sorted(imports(MODULES[module].read_text(encoding="utf-8"))):
        below = floor_of(name) < floor_of(module)
        assert below or name.split(".")[1] == module.split(".")[1], f"{module} imports {name}"


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import each other in a circle."""
    reached = {module: {module} for module in graph}
    changed = True
    while changed:
        changed = False
        for module, names in graph.items():
            more = set().union(*(reached[name] for name in names)) - reached[module]
            changed |= bool(more)
            reached[module] |= more
    met = {frozenset(b for b in reached[a] if a in reached[b]) for a in graph}
    return [set(group) for group in met if len(group) > 1]


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module: imports(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}
    # What a package's __init__ hands on is counted where it is defined: importing the package loads those modules.
    assert circles(graph | {"eavdash": set()}) == []


def test_the_circle_check_sees_planted_circles() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_modules_and_pages_are_small() -> None:
    long = {str(path): n for path in package_files() if (n := len(path.read_text("utf-8").splitlines())) > 300}
    pages = {str(path): n for path in (REPO / "pages").rglob("*.py") if (n := len(path.read_text().splitlines())) > 80}
    assert not long, f"is each of these two modules? {long}"
    assert not pages, f"a page selects, loads and shows: {pages}"


def test_the_layer_check_sees_planted_imports() -> None:
    planted = "from eavdash.data import table\ndef f():\n    from eavdash.models.build import build\n"
    assert imports(planted) == {"eavdash.data.table", "eavdash.models.build"}
    hidden = "if TYPE_CHECKING:\n    from eavdash.data import table\n"
    assert imports(hidden) == set()
    with pytest.raises(KeyError):
        floor_of("eavdash.attic.box")


def test_only_the_app_the_pages_and_ui_import_streamlit() -> None:
    for path in package_files():
        if module_of(path).split(".")[:2] != ["eavdash", "ui"]:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
            names |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
            assert "streamlit" not in names, path


def test_a_fragment_is_made_in_one_module() -> None:
    """It knows when it is drawn within another one; Streamlit's own loses the page there."""
    places = [REPO / "app.py", *(REPO / "pages").rglob("*.py"), *package_files()]
    for call in ("st.fragment", "st.stop()"):  # Streamlit's stop keeps the fragments of the page before
        assert [path.stem for path in places if call in path.read_text(encoding="utf-8")] == ["fragment"]


def test_pages_are_one_folder_down() -> None:
    assert not list((REPO / "pages").glob("*.py"))
    assert len(list((REPO / "pages").glob("*/*.py"))) == 15


def test_nothing_that_a_page_loads_imports_the_heavy_libraries() -> None:
    """Load everything the pages import, in a fresh interpreter, and look at what came with it."""
    lines = set()
    for path in [REPO / "app.py", *(REPO / "pages").glob("*/*.py"), *(REPO / "eavdash" / "ui").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("eavdash"):
                lines.add(f"from {node.module} import {', '.join(a.name for a in node.names)}")
    lines.add("import eavdash.cli.main, eavdash.cli.commands")
    code = "import sys\n" + "\n".join(sorted(lines)) + f"\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout.strip() == "[]"
