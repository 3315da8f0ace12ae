"""The site of docs/: it builds strictly and loads nothing from elsewhere, and what it says about commands is so."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from recordings import FAST, make_recordings
from serving import served

from eavdash.cli import reference as commands
from eavdash.cli.main import main, parser
from eavdash.config import reference as settings
from eavdash.store import reference as files

HOME = Path(__file__).resolve().parents[1]
DOCS = HOME / "docs"
#: Pages that a reader follows, in the order in which one needs what another made.
FOLLOWED = ("tutorial", "how-to-read-receipts", "how-to-eav", "how-to-own-recordings", "how-to-own-weights")
#: What needs the network, a cluster or an installation: such commands are parsed only.
ONLY_PARSED = ("fetch-weights", "--executor ray", "--executor slurm", "eavdash move")


def lines(page: str) -> list[str]:
    """The commands in the blocks ``sh`` of a page, one a line."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(source / "mkdocs.yml")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    # A proxy that does not exist: what asks the network fails.
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return subprocess.run([*command, "-d", str(site)], env=environment, capture_output=True, text=True)


class Loaded(HTMLParser):
    """The addresses that a browser loads by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(given.get("href") or "")
        elif tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.found.append(given.get("src") or "")


def from_elsewhere(page: str) -> list[str]:
    reader = Loaded()
    reader.feed(page)
    return [address for address in reader.found if re.match(r"(\w+:)?//", address)]


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = build(HOME, tmp_path)
    assert done.returncode == 0, done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    names = {str(page.relative_to(tmp_path).with_suffix("")) for page in pages}
    assert {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")} <= names
    assert {"contributing", "changelog", "licence"} <= names
    for page in pages:
        assert from_elsewhere(page.read_text(encoding="utf-8")) == [], page
    assert 'href="contributing.html' in (tmp_path / "architecture.html").read_text(encoding="utf-8")


def test_what_is_loaded_from_elsewhere_is_found() -> None:
    page = '<link href="https://fonts.example/f.css"><script src="//x.example/a.js"></script><img src="a.png">'
    assert from_elsewhere(page) == ["https://fonts.example/f.css", "//x.example/a.js"]


def test_wrong_links_fail_the_build(tmp_path: Path) -> None:
    text = (HOME / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(text[: text.index("\nnav:")] + "\n", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    shutil.copy(DOCS / "hooks.py", tmp_path / "docs")
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"):
        (tmp_path / name).write_text("A\n")
    page = tmp_path / "docs" / "index.md"
    page.write_text("# Home\n\n[a](#home), [b](../CONTRIBUTING.md)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    defects = ("none.md", "contributing.md#none", "images/none.png", "../none.txt")
    page.write_text("# Home\n\n" + " ".join(f"[a]({address})" for address in defects) + "\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert [address for address in defects if address not in done.stderr] == []


@pytest.mark.parametrize(
    ("page", "module"), [("commands", commands), ("files", files), ("settings", settings)], ids=lambda one: str(one)[:9]
)
def test_the_reference_is_that_of_the_code(page: str, module: object) -> None:
    written = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert written == module.reference(), "run `make reference`"


def test_every_argument_and_file_has_a_meaning() -> None:
    for page in (commands.reference(), files.reference()):
        rows = [line for line in page.splitlines() if re.match(r"\| `", line)]
        assert len(rows) > 20
        assert [row for row in rows if re.search(r"\|\s*\|$", row)] == []


def subcommands() -> dict[str, set[str]]:
    """The options of each command, with those of its actions."""
    found = {}
    (choices,) = (action.choices for action in parser()._actions if action.dest == "command")
    for name, sub in choices.items():
        options = set(sub._option_string_actions)
        for action in sub._actions:
            if isinstance(action.choices, dict):
                options |= {o for one in action.choices.values() for o in one._option_string_actions}
        found[name] = options
    return found


def unknown(text: str) -> list[str]:
    """Commands and options in a document's code that eavdash does not have."""
    known, wrong = subcommands(), []
    code = re.findall(r"(?:^|/|· )eavdash ([a-z][a-z-]*)([^`\n·]*)", "\n".join(in_code(text)), re.MULTILINE)
    for name, rest in code:
        if name not in known:
            wrong.append(name)
        else:
            wrong += [f"{name} {o}" for o in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", rest) if o not in known[name]]
    return wrong


def in_code(text: str) -> list[str]:
    """The lines of a document's blocks of code, and its spans."""
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"^```(?!python|toml|csv|text)\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (eavdash .*)$", text, flags=re.MULTILINE)
    rest = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*blocks, *indented, *re.findall(r"`(eavdash [^`]*)`", rest)]


@pytest.mark.parametrize(
    "page", sorted([*DOCS.rglob("*.md"), HOME / "README.md", HOME / "CONTRIBUTING.md"]), ids=lambda p: p.name
)
def test_commands_and_options_in_the_documents_exist(page: Path) -> None:
    assert unknown(page.read_text(encoding="utf-8")) == []


def test_a_command_or_an_option_that_does_not_exist_is_found() -> None:
    text = "Run `eavdash resultz demo`.\n\n```\neavdash results demo --basslines   prose\n```\n\n"
    text += "    eavdash train x --stage eeg \\\n        --wat 3\n"
    assert sorted(unknown(text)) == ["results --basslines", "resultz", "train --stage", "train --wat"]


@pytest.mark.parametrize("page", [*FOLLOWED, "how-to-cluster"])
def test_every_command_of_a_page_that_is_followed_can_be_parsed(page: str) -> None:
    assert lines(page)
    for line in lines(page):
        program, *arguments = shlex.split(line)
        if program == "make":
            done = subprocess.run(["make", "-n", *arguments], cwd=HOME, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        else:
            assert program == "eavdash", line
            assert parser().parse_args(arguments).command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the pages suppose: recordings, tiny ones here, and weights of an AST."""
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    here = tmp_path_factory.mktemp("followed")
    table = make_recordings(here / "recordings", subjects=3)
    rows = pd.read_csv(table)
    rows.assign(condition="Speaking").to_csv(table, index=False)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 48}
    model = transformers.ASTForAudioClassification(transformers.ASTConfig(**sizes, num_mel_bins=64, max_length=200))
    model.save_pretrained(here / "weights" / "ast")
    yield here
    main(["cancel", "demo", "--checkpoints", str(here / "checkpoints")])
    main(["cancel", "pilot", "--checkpoints", str(here / "checkpoints")])


def bounded(line: str) -> list[str]:
    """The arguments of a command as the test runs it: on the tiny recordings, with tiny models, one epoch each."""
    small = [part for setting in FAST for part in ("--set", setting)]
    if line == "make demo":
        return ["train", "recordings/trials.csv", "--study", "demo", "--subjects", "2", "--folds", "0", "--wait",
                *("--epochs", "2"), *small]  # fmt: skip
    _, *arguments = shlex.split(line.replace("/data/EAV", "recordings/trials.csv"))
    if "8" in arguments:  # the trial of the demo
        splits = pd.read_csv("checkpoints/demo/splits.csv", dtype=str)
        tested = splits[(splits["subject"] == "2") & (splits["fold"] == "0") & (splits["split"] == "test")]
        arguments[arguments.index("8")] = tested["trial"].iloc[0]
    if arguments[0] == "train":
        arguments += ["--epochs", "1", *(small if "frozen" not in arguments else ("--set", "window=2"))]
        if "--stages" not in arguments and {"pilot", "own"} & set(arguments):
            arguments += ["--stages", "eeg"]
    return arguments


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_pages_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("EAVDASH_CHECKPOINTS", raising=False)
    for page in FOLLOWED:
        for line in lines(page):
            if not any(part in line for part in ONLY_PARSED):
                run_line(line, folder)
                printed = capsys.readouterr()
                assert printed.out or printed.err, (page, line)


def run_line(line: str, folder: Path) -> None:
    """Run a command as a reader would; those that need another place of the recordings find it."""
    if line == "eavdash app":
        with served(folder, first_port=18761) as app:
            print(app.token)
        return
    moved = line.startswith("eavdash relocate")
    if moved:
        shutil.move(folder / "recordings", folder / "moved")
    try:
        assert main(bounded(line)) == 0, line
    finally:
        if moved:
            shutil.copytree(folder / "moved", folder / "recordings")
