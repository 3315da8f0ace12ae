"""The built wheel: what it contains, and that its dashboard and command line work outside a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOME = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what a checkout holds; no build folder is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=HOME, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and not name.startswith(("tests/", "docs/", "benchmarks/")) and (HOME / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((HOME / name).read_bytes())
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "-w", str(folder), str(source)], check=True)
    return next(folder.glob("eavdash-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone into a folder of its own; its libraries are those of the tests."""
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_the_wheel_has_one_package_with_the_dashboard_inside(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    assert {name.split("/")[0] for name in names if not name.startswith("eavdash-")} == {"eavdash"}
    pages = {str(p.relative_to(HOME)) for p in (HOME / "pages").rglob("*.py")}
    assert {f"eavdash/_app/{page}" for page in pages} <= set(names)
    assert {"eavdash/_app/app.py", "eavdash/_app/.streamlit/config.toml", "eavdash/py.typed"} <= set(names)
    kept = {
        str(p.relative_to(HOME)) for p in (HOME / "eavdash").rglob("*") if p.suffix in (".js", ".css", ".html", ".csv")
    }
    assert kept <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    wanted = {
        re.split(r"[=<>\[]", line)[0]
        for line in (HOME / "requirements.txt").read_text().splitlines()
        if line[:1].isalpha()
    }
    assert wanted <= set(re.findall(r"^Requires-Dist: ([\w.-]+)", metadata, re.MULTILINE))


def test_the_command_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import eavdash, sys; from eavdash.cli.main import main; "
            "print(eavdash.__file__); sys.exit(main(['studies']))",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(installed))


def test_the_dashboard_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    script = "\n".join(
        [
            "import os",
            "from streamlit.testing.v1 import AppTest",
            "from eavdash.cli.serve import APP",
            f"assert str(APP).startswith({str(installed)!r}), APP",
            "os.chdir(APP.parent)",  # as serve() does
            "page = AppTest.from_file(str(APP), default_timeout=120).run()",
            "assert not page.exception, page.exception",
            "print(page.title[0].value)",
        ]
    )
    environment = {**os.environ, "PYTHONPATH": str(installed), "EAVDASH_CHECKPOINTS": str(tmp_path / "checkpoints")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_app_answers_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "eavdash", "app", "--no-token", "--port", "18841"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "app.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output) as server,
    ):
        try:
            while not (found := re.search(r"^dashboard: (http://[\d.:]+)", log.read_text(), re.MULTILINE)):
                assert server.poll() is None, log.read_text()
                time.sleep(0.2)
            for path in ("/", "/subjects"):
                with urllib.request.urlopen(found[1] + path, timeout=60) as answer:
                    assert answer.status == 200
                    assert b"<title>" in answer.read()
        finally:
            server.terminate()


def _requirements(name: str) -> list[Requirement]:
    """Return the requirements of a file, without options and comments; those of a lock file with their markers."""
    lines = (line.split(" #")[0].rstrip(" \\") for line in (HOME / name).read_text().splitlines())
    return [Requirement(line.split(" --hash")[0]) for line in lines if line[:1].isalpha()]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_lock_holds_what_is_required(name: str, python: str) -> None:
    system = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    pinned: dict[str, str] = {}
    for line in _requirements(f"{name}.lock"):
        if line.marker is None or line.marker.evaluate(system):
            key = canonicalize_name(line.name)
            assert key not in pinned, f"{key} is pinned twice for Python {python}"
            (pin,) = line.specifier
            assert pin.operator == "==", line
            pinned[key] = pin.version
    for wanted in _requirements(f"{name}.txt"):
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), f"run `make lock`: {wanted}"


def test_the_locks_agree_and_name_no_index() -> None:
    small, large = (_requirements(f"{n}.lock") for n in ("requirements", "requirements-dev"))
    markers = {(line.name, str(line.specifier)): line.marker for line in large}
    for line in small:
        # The larger one may need on every system what the smaller one needs on some.
        assert markers[line.name, str(line.specifier)] in (line.marker, None), line
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (HOME / name).read_text()
        assert "://" not in text
        assert "\n--" not in text
        for block in re.split(r"\n(?=\w)", text)[1:]:
            assert "--hash=sha256:" in block, block


def test_every_direct_requirement_has_its_licence_named() -> None:
    said = (HOME / "docs" / "licences.md").read_text().lower()
    names = {
        line.name
        for f in ("requirements", "requirements-dev", "requirements-voice")
        for line in _requirements(f"{f}.txt")
    }
    stubs = {name for name in names if "stubs" in name or name.startswith("types-")}
    assert [name for name in sorted(names - stubs) if re.search(rf"\b{re.escape(name.lower())}\b", said) is None] == []


def test_the_citation_names_this_version() -> None:
    version = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (HOME / "CITATION.cff").read_text()
