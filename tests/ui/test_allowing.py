"""The folders that the app may read: what is refused on the pages, and what a person may allow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_study import make_study
from test_adding import can_be_added, entered
from test_pages import checkpoints, open_page, page_text

from eavdash.cli.commands import dashboard
from eavdash.cli.main import main
from eavdash.data.table import open_table
from eavdash.store import datasets
from eavdash.store.readable import VARIABLE, data_folders, is_readable
from eavdash.store.record import write_record
from eavdash.ui import allowing

__all__ = ["checkpoints"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table in a data folder of the app, with the recordings in another folder."""
    mine, lab = tmp_path.resolve() / "mine", tmp_path.resolve() / "lab" / "recordings"
    mine.mkdir()
    lab.mkdir(parents=True)
    lines = ["subject,trial,label,group,audio"]
    for trial in range(8):
        soundfile.write(lab / f"{trial}.wav", np.zeros(16000), 16000)
        lines.append(f"a,{trial},{'calm' if trial % 2 else 'loud'},g{trial // 2},{lab / f'{trial}.wav'}")
    (mine / "trials.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv(VARIABLE, json.dumps([str(mine)]))
    monkeypatch.setattr(allowing, "is_local", lambda: True)
    allowing._trust_study.cache_clear()
    return lab


def table(lab: Path) -> str:
    return str(lab.parents[1] / "mine" / "trials.csv")


def test_a_dataset_outside_is_offered_and_opens_when_it_is_allowed(lab: Path) -> None:
    app = open_page("trials", {"data_trials_path": str(lab)})
    assert f"outside of those that the app may read: {lab}" in page_text(app)
    app.button(key="parts_allow").click().run()
    assert f"The app may read {lab} until it ends" in page_text(app)
    assert is_readable(lab / "0.wav")
    assert not is_readable(lab.parent / "other.wav")


def test_on_a_network_nothing_is_offered(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowing, "is_local", lambda: False)
    app = open_page("trials", {"data_trials_path": str(lab)})
    assert len(app.error) == 1
    assert "parts_allow" not in [b.key for b in app.button]
    allowing.allow(str(lab), "")
    assert not is_readable(lab)


@pytest.mark.parametrize("folder", ["/", "/proc", "/dev/fd"])
def test_some_folders_cannot_be_allowed(lab: Path, folder: str) -> None:
    before = data_folders()
    allowing.allow(folder, "")
    assert data_folders() == before


@pytest.mark.parametrize(
    ("address", "local"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), (None, False)]
)
def test_a_loopback_address_is_local(monkeypatch: pytest.MonkeyPatch, address: str | None, local: bool) -> None:
    monkeypatch.setattr("streamlit.get_option", lambda name: address if name == "server.address" else None)
    assert allowing.is_local() is local


def test_recordings_outside_are_allowed_kept_and_found_again(
    lab: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = entered(open_page("health"), "Pilot", table(lab))
    assert not can_be_added(app)
    assert str(lab) in page_text(app)
    app.button(key="data_health_new_allow").click().run()
    app.button(key="data_health_new_check").click().run()
    assert can_be_added(app), page_text(app)
    app.button(key="data_health_new_add").click().run()
    (added,) = datasets.list_datasets(checkpoints)
    assert added.folders == (str(lab),)
    # Another start of the app knows the folders of the dataset.
    monkeypatch.setenv(VARIABLE, json.dumps([str(lab.parents[1] / "elsewhere")]))
    open_page("health")
    assert open_table(table(lab)).problems == {}


def test_a_dataset_that_an_earlier_version_added_keeps_opening(lab: Path, checkpoints: Path) -> None:
    datasets.add(checkpoints, "Old", table(lab))
    assert "folders" not in json.loads(datasets.list_file(checkpoints).read_text())["datasets"][0] or (
        datasets.list_datasets(checkpoints)[0].folders is None
    )
    app = open_page("trials", {"data_trials_path": table(lab)})
    assert not app.error, page_text(app)
    assert datasets.list_datasets(checkpoints)[0].folders == (str(lab),)
    # What the table names later is not trusted.
    Path(table(lab)).write_text(f"subject,trial,label,audio\na,1,calm,{lab.parent}/secret.wav\n")
    allowing.trust_dataset(checkpoints, table(lab))
    assert set(open_table(table(lab)).problems) == {"a"}


def test_a_study_keeps_opening_its_recordings_but_follows_no_new_link(lab: Path, checkpoints: Path) -> None:
    study = make_study(checkpoints, "mine")
    document = study.study()
    secret = lab.parent / "secret"
    secret.mkdir()
    (lab / "0.wav").rename(secret / "0.wav")
    (lab / "0.wav").symlink_to(secret / "0.wav")
    write_record(study.study_file, document.replace(dataset=document.dataset.replace(path=table(lab))))
    study.table_file.unlink(missing_ok=True)
    allowing.start(checkpoints, study)
    assert is_readable(lab / "1.wav")
    assert not is_readable(lab / "0.wav")


@pytest.mark.parametrize("command", ["app", "demo"])
def test_the_option_names_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    seen = []
    monkeypatch.setattr(dashboard.serve, "serve", lambda *_: seen.append(data_folders()))
    monkeypatch.setattr(dashboard, "simulate", lambda *_, **__: tmp_path / "made")
    monkeypatch.setattr(dashboard, "queue_and_wait", lambda *_, **__: False)
    monkeypatch.setattr(dashboard, "read_scores", lambda *_, **__: None)
    monkeypatch.setattr(dashboard.console, "print_table", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    own = tmp_path.resolve()
    made = (str(own / "made"),) if command == "demo" else ()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert main([command]) == 0
    assert main([command, "--data", "a", "b"]) == 0
    assert seen == [(str(own),), (str(own / "a"), str(own / "b"), *made)]
    assert main([command, "--data", "none"]) == 2
