"""The preset ``frozen``: what it chose is said in the plan and fixed in study.json."""

from __future__ import annotations

from pathlib import Path

import pytest
from failing import fails
from short_sounds import table

from eavdash.cli.main import main
from eavdash.config.choices import AUTO
from eavdash.config.convert import recorded_config, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.errors import ConfigError
from eavdash.models import automatic
from eavdash.store import StudyDir
from eavdash.studies.extend import plan_extension
from eavdash.studies.plan import plan
from eavdash.studies.write import prepare

FROZEN = with_settings(preset("frozen"), ["stages=audio"])


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "offered", lambda modality: ())


def test_the_choice_is_said_in_the_plan_and_fixed_in_the_study(tmp_path: Path, monkeypatch) -> None:
    root = table(tmp_path)
    made = prepare(root, "pilot", FROZEN, Selection(("1",), (0,)), tmp_path / "c")
    assert [note for note in made.notes if note.startswith("audio: encoder ast")]
    config = recorded_config(made.study.study())
    assert (config.preset, config.audio.encoder) == ("frozen", "ast")
    assert AUTO not in {config.modality(m).encoder for m in ("vision", "audio", "eeg")}
    # What is at hand later changes neither the same command nor an extension.
    later = {"audio.encoder": "ast", "audio.mels": 64}
    monkeypatch.setattr(automatic, "_chosen", lambda config, modality: (later, "found later"))
    again = plan(root, "pilot", FROZEN, Selection(("2",), (0,)), tmp_path / "c")
    assert again.document.config == made.document.config
    assert plan_extension(StudyDir(tmp_path / "c" / "pilot"), ("1", "2"), (0,), None).plan.document.config == (
        made.document.config
    )


def test_a_dry_run_prints_the_choice(tmp_path: Path, capsys) -> None:
    root = str(table(tmp_path))
    command = ["train", root, "--study", "pilot", "--preset", "frozen", "--stages", "audio", "--dry-run"]
    assert main([*command, "--checkpoints", str(tmp_path / "c")]) == 0
    assert "audio: encoder ast" in capsys.readouterr().err
    assert not (tmp_path / "c" / "pilot").exists()


def test_an_encoder_of_random_numbers_that_stays_frozen_is_noted(tmp_path: Path) -> None:
    config = with_settings(FROZEN, ["audio.encoder=ast"])
    made = plan(table(tmp_path), "pilot", config, Selection(("1",), (0,)), tmp_path / "c")
    assert [note for note in made.notes if "random numbers" in note]


def test_missing_weights_are_refused_as_with_any_preset(tmp_path: Path) -> None:
    for name in ("ast", "\0"):
        config = with_settings(FROZEN, [f"audio.weights={tmp_path / name}"])
        with fails(ConfigError, where="audio.weights"):
            plan(table(tmp_path), "pilot", config, Selection(), tmp_path / "c")
