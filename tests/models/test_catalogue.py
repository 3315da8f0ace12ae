"""The catalogue of encoders: every choice has an entry, and what is at hand follows from packages and settings."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from eavdash.config.choices import MODALITIES
from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.models.catalogue import CATALOGUE, Entry, entry_of, names, offered
from eavdash.models.reference import DOCS, page, table

EACH = pytest.mark.parametrize("entry", CATALOGUE, ids=[f"{e.modality}-{e.name}" for e in CATALOGUE])


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_choice_has_one_entry(modality: str) -> None:
    assert sorted(entry.name for entry in offered(modality)) == sorted(names(modality))


@EACH
def test_an_entry_is_offered_exactly_if_the_configuration_accepts_it(entry: Entry) -> None:
    for value in entry.values:
        assert entry_of(entry.modality, value) is entry
        accepted = True
        try:
            weights = "somewhere" if entry.weights == "required" else ""
            given = [f"{entry.modality}.encoder={value}", f"{entry.modality}.weights={weights}"]
            with_settings(StudyConfig(), given)
        except ConfigError:
            accepted = False
        assert accepted == entry.offered


@EACH
def test_an_entry_says_all_that_the_list_shows(entry: Entry) -> None:
    for text in (entry.title, entry.expects, entry.licence, entry.size, entry.needs, entry.trained):
        assert text
        assert "|" not in text, "the table of docs/models.md would have another column"
    assert entry.weights in ("none", "folder", "required", "included")
    assert bool(entry.package) or not entry.file


def test_an_encoder_without_an_entry_is_none() -> None:
    assert entry_of("audio", "vit") is None
    assert entry_of("eeg", "timm:vit_small_patch16_dinov3") is None


def installed(folder: Path, with_file: bool) -> None:
    """Write what pip leaves of a package with one file of weights."""
    (folder / "voices-1.0.dist-info").mkdir(parents=True)
    (folder / "voices-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: Voices\nVersion: 1.0\n")
    (folder / "voices-1.0.dist-info" / "RECORD").write_text("voices/pretrained.pt,,\n")
    (folder / "voices").mkdir()
    if with_file:
        (folder / "voices" / "pretrained.pt").write_bytes(b"weights")


def test_included_weights_are_at_hand_if_the_packages_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry(
        *("voices", "audio", "voices", "sound", "MIT", "1 MB"),
        needs="pip install Voices",
        weights="included",
        package="Voices",
        file="pretrained.pt",
    )
    assert entry.missing == "pip install Voices"
    assert not entry.at_hand()
    assert "Not installed: pip install Voices." in entry.summary
    for with_file in (False, True):
        installed(tmp_path / str(with_file), with_file)
        monkeypatch.syspath_prepend(tmp_path / str(with_file))
        assert metadata.distribution("Voices").version == "1.0"
        assert (not entry.missing, entry.at_hand()) == (with_file, with_file)


def test_weights_of_a_folder_are_at_hand_if_it_is_named() -> None:
    vit, yin = entry_of("vision", "vit"), entry_of("eeg", "yin")
    assert vit
    assert yin
    assert (vit.at_hand(), vit.at_hand("weights/vit"), yin.at_hand("weights/yin")) == (False, True, False)


def test_the_table_in_the_docs_is_that_of_the_catalogue() -> None:
    assert (DOCS / "models.md").read_text(encoding="utf-8") == page(), "write it: python -m eavdash.models.reference"


def test_the_table_has_a_row_per_encoder_and_only_measured_accuracies() -> None:
    measured = """
| data | protocol | scaling by person | model | accuracy, % | n |
|---|---|---|---|---|---|
| speech | loso | off | ast | 34.0 | 144 |
| speech | loso | all | ast | 35.0 | 144 |
| speech | loso | off | logistic regression | 44.4 | 144 |
| eeg | loso | off | braindecode:EEGNet | 50.0 | 36 |

| model | accuracy, % |
|---|---|
| yin | 99.0 |
"""
    rows = {line.split("|")[1].strip(" `"): line.split("|")[-2].strip() for line in table(measured).splitlines()[2:]}
    assert list(rows) == [f"{entry.modality}.encoder={entry.name}" for entry in offered()]
    assert rows["audio.encoder=ast"] == "speech, loso: 34.0 (n = 144); speech, loso, all: 35.0 (n = 144)"
    assert rows["eeg.encoder=braindecode:NAME"] == "braindecode:EEGNet, eeg, loso: 50.0 (n = 36)"
    assert {setting for setting, accuracy in rows.items() if accuracy} == {
        "audio.encoder=ast",
        "eeg.encoder=braindecode:NAME",
    }
