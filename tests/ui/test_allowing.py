"""The folders that the app may read: what is refused on the pages, and what a person may allow."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import streamlit as st
from fake_study import make_study
from streamlit.testing.v1 import AppTest
from test_adding import can_be_added, entered
from test_pages import PAGES, checkpoints, open_page, page_text

from eavdash.cli.commands import dashboard
from eavdash.cli.main import main
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.data.table import open_table
from eavdash.errors import ConfigError
from eavdash.store import StudyDir, datasets
from eavdash.store.readable import VARIABLE, data_folders, is_readable
from eavdash.studies.write import prepare
from eavdash.ui import actions, allowing, edge

__all__ = ["checkpoints"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table in a data folder of the app, with the recordings in another folder."""
    mine, lab = tmp_path.resolve() / "mine", tmp_path.resolve() / "lab" / "recordings"
    mine.mkdir()
    lab.mkdir(parents=True)
    lines = ["subject,trial,label,group,audio"]
    for trial in range(8):
        soundfile.write(lab / f"{trial}.wav", np.full(16000, trial / 10), 16000)
        lines.append(f"a,{trial},{'calm' if trial % 2 else 'loud'},g{trial // 2},{lab / f'{trial}.wav'}")
    (mine / "trials.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv(VARIABLE, json.dumps([str(mine)]))
    monkeypatch.setattr(edge, "is_private", lambda: True)
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
    monkeypatch.setattr(edge, "is_private", lambda: False)
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
    ("address", "hosts", "token", "private"),
    [
        ("127.0.0.1", ["127.0.0.1", "localhost", "::1"], True, True),
        ("localhost", ["localhost"], True, True),
        ("::1", ["::1"], True, True),
        ("127.0.0.1", ["localhost", "lab.example.org"], True, False),  # a proxy's name
        ("127.0.0.1", ["*.example.org"], True, False),
        ("127.0.0.1", ["*"], True, False),
        ("127.0.0.1", [], True, False),
        ("127.0.0.1", ["127.0.0.1"], False, False),  # every user of the machine
        ("0.0.0.0", ["localhost"], True, False),
        (None, ["localhost"], True, False),
    ],
)
def test_only_the_holder_of_the_token_on_this_machine_may_allow(
    monkeypatch: pytest.MonkeyPatch, address: str | None, hosts: list[str], token: bool, private: bool
) -> None:
    options = {"server.address": address, "server.allowedHosts": hosts}
    monkeypatch.setattr("streamlit.get_option", options.get)
    monkeypatch.setattr(edge, "_has_token", token)
    assert edge.is_private() is private


def test_recordings_outside_are_allowed_kept_and_found_again(
    lab: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = entered(open_page("add"), "Pilot", table(lab))
    assert not can_be_added(app)
    assert str(lab) in page_text(app)
    app.button(key="data_add_allow").click().run()
    app.button(key="data_add_check").click().run()
    assert can_be_added(app), page_text(app)
    app.button(key="data_add_add").click().run()
    (entry,) = datasets.list_datasets(checkpoints)
    assert set(entry.folders or ()) == set(entry.trusted) == {table(lab), str(lab)}
    # Another start of the app knows the folders of the dataset.
    monkeypatch.setenv(VARIABLE, json.dumps([str(lab.parents[1] / "elsewhere")]))
    open_page("health")
    assert open_table(table(lab)).problems == {}


def test_a_dataset_that_an_earlier_version_added_is_allowed_once(
    lab: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.add(checkpoints, "Old", table(lab))
    (old,) = json.loads(datasets.list_file(checkpoints).read_text())["datasets"]
    assert set(old) == {"name", "path"}
    app = open_page("trials", {"data_trials_path": table(lab)})
    assert not is_readable(lab / "0.wav")
    app.button(key="parts_allow" if "parts_allow" in {b.key for b in app.button} else allow_key(app)).click().run()
    assert set(datasets.list_datasets(checkpoints)[0].trusted) == {table(lab), str(lab)}
    # Another start of the app knows the folders; what the table names later is not trusted.
    monkeypatch.setenv(VARIABLE, json.dumps([str(lab.parents[1] / "elsewhere")]))
    allowing.start(checkpoints)
    assert open_table(table(lab)).problems == {}
    Path(table(lab)).write_text(f"subject,trial,label,audio\na,1,calm,{lab.parent}/secret.wav\n")
    allowing.remember(checkpoints, table(lab), open_table(table(lab)))
    allowing.start(checkpoints)
    assert set(open_table(table(lab)).problems) == {"a"}


def allow_key(app: AppTest) -> str:
    return next(str(b.key) for b in app.button if str(b.key).endswith("_allow"))


def hostile_study(checkpoints: Path, path: str, weights: str = "") -> StudyDir:
    """A study that somebody else wrote: its dataset, its recordings, its weights and its folders are what they want."""
    study = make_study(checkpoints, "copied", dataset=path, subjects=("1",), stages=("audio",))
    document = json.loads(study.study_file.read_text())
    document["config"]["audio"]["weights"] = weights
    document["dataset"]["folders"] = ["/"]
    study.study_file.write_text(json.dumps(document))
    return study


def added(checkpoints: Path) -> set[str]:
    """The data folders that are not the app's own."""
    return {folder for folder in data_folders() or () if not folder.startswith(f"{checkpoints.resolve()}/")}


@pytest.mark.parametrize("path", ["/", "/root/.ssh", "table", "lab", "weights"])
def test_a_study_adds_no_folder(lab: Path, checkpoints: Path, path: str) -> None:
    paths = {"table": table(lab), "lab": str(lab), "weights": str(lab.parents[1] / "mine")}
    mine = str(lab.parents[1] / "mine")
    hostile_study(checkpoints, paths.get(path, path), mine if path == "weights" else "/root")
    app = open_page("subjects")
    for page in PAGES.values():
        app.switch_page(page).run()
        assert not app.exception, app.exception[0].stack_trace
    assert added(checkpoints) == {mine}


@pytest.mark.parametrize("seal", [None, "0" * 64, "another's"])
@pytest.mark.parametrize("path", ["/", "lab"])
def test_a_list_of_datasets_from_elsewhere_adds_no_folder(
    lab: Path, checkpoints: Path, path: str, seal: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = added(checkpoints)
    path = path if path == "/" else str(lab)
    if seal == "another's":
        mine = os.environ["XDG_STATE_HOME"]
        monkeypatch.setenv("XDG_STATE_HOME", str(lab.parent / "theirs"))
        datasets.add(checkpoints, "Copied", path, [path])
        monkeypatch.setenv("XDG_STATE_HOME", mine)
    else:
        entry = {"name": "Copied", "path": path, "folders": [path], "seal": seal}
        checkpoints.mkdir()
        datasets.list_file(checkpoints).write_text(json.dumps({"datasets": [entry]}))
    open_page("trials", {"data_trials_path": path})
    assert added(checkpoints) == before


def test_no_link_in_the_checkpoints_folder_adds_its_target(lab: Path, checkpoints: Path) -> None:
    checkpoints.mkdir()
    for name in (".datasets", ".cache"):
        (checkpoints / name).symlink_to(lab.parent)
    (lab.parent / "videos").mkdir()
    datasets.add(checkpoints, "Moved", lab / "later", [str(lab / "later")])
    (lab / "later").symlink_to("/etc")
    before = data_folders()
    allowing.start(checkpoints)
    own = str(checkpoints / f".cache-{os.getuid()}" / "videos")  # in place of the linked cache
    assert set(data_folders() or ()) - {own} == set(before or ()), (
        "neither .datasets, .cache/videos nor the folder of the dataset"
    )


def test_weights_in_a_form_add_no_folder(lab: Path, checkpoints: Path) -> None:
    mine = lab.parents[1] / "mine"
    for trial in range(8):
        (lab / f"{trial}.wav").rename(mine / f"{trial}.wav")
    Path(table(lab)).write_text(Path(table(lab)).read_text().replace(str(lab), str(mine)))
    config = with_settings(preset("quick"), [f"audio.weights={mine}", "stages=audio", "protocol.name=conversation"])
    with pytest.raises(ConfigError, match="weights"):  # a folder without weights
        prepare(table(lab), "mine", config, Selection(("a",), (0,)), checkpoints)
    open_page("subjects")
    open_page("studies")
    assert added(checkpoints) == {str(mine)}


def test_many_recordings_take_no_folder_along_that_the_app_may_not_read(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two data folders, one deep and one with many folders: what is kept for both stays within them."""
    top = lab.parents[1]
    deep, wide = top / "a" / "b" / "c", top / "w"
    monkeypatch.setenv(VARIABLE, json.dumps([str(deep), str(wide)]))
    rows = [f"a,{n},x,{wide}/{n}/{n}.wav" for n in range(300)] + [f"a,x,y,{deep}/1.wav"]
    (top / "w").mkdir()
    (top / "w" / "trials.csv").write_text("subject,trial,label,audio\n" + "\n".join(rows) + "\n")
    assert allowing.folders_of(open_table(wide / "trials.csv")) == [str(deep), str(wide)]


def test_a_copied_study_is_queued_only_if_its_dataset_may_be_read(lab: Path, checkpoints: Path) -> None:
    study = hostile_study(checkpoints, str(lab))
    actions.retry(study)
    kind, error = st.session_state[actions.MESSAGE]
    assert (kind, error.folder) == ("error", str(lab))


@pytest.mark.parametrize("command", ["app", "demo"])
def test_the_option_names_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    seen = []
    monkeypatch.setattr(dashboard.serve, "serve", lambda *_: seen.append(data_folders()))
    monkeypatch.setattr(dashboard, "simulate", lambda *_, **__: tmp_path / "made")
    monkeypatch.setattr(dashboard, "queue_and_wait", lambda *_, **__: False)
    monkeypatch.setattr(dashboard.store, "find_study", lambda *_: None)
    monkeypatch.setattr(dashboard, "read_scores", lambda *_, **__: None)
    monkeypatch.setattr(dashboard, "_print_scores", lambda *_: None)
    monkeypatch.setattr(dashboard, "_explain_some", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    own = tmp_path.resolve()
    made = (str(own / "made"),) if command == "demo" else ()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert main([command]) == 0
    assert main([command, "--data", "a", "b"]) == 0
    assert seen == [(str(own),), (str(own / "a"), str(own / "b"), *made)]
    assert main([command, "--data", "none"]) == 2
