"""``eavdash demo``: what it prints, and a demo that an earlier version made."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_study import make_study

from eavdash.cli.commands.dashboard import _demo_config, _explain_some, _print_scores
from eavdash.config.presets import preset
from eavdash.errors import EavdashError
from eavdash.results import tables
from eavdash.store import StudyDir


def test_each_subject_has_a_row_per_stage_and_the_baselines_are_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = tables.scores(make_study(tmp_path), baselines=True)
    _print_scores(scores)
    own, _, means = capsys.readouterr().out.partition("Baselines")
    rows = {part: text.count("\n") for part, text in (("own", own), ("means", means))}
    assert not [name for name in tables.BASELINES if name in own]
    assert all(name in means for name in set(scores["stage"]) & set(tables.BASELINES))
    assert scores["subject"].nunique() > 1
    assert rows["own"] + rows["means"] < len(scores)


def test_a_demo_of_an_earlier_version_is_resumed_with_its_fusion(tmp_path: Path) -> None:
    assert _demo_config(tmp_path) == preset("quick")
    make_study(tmp_path, fusion="attention")
    assert _demo_config(tmp_path).fusion.kind == "attention"


def test_the_first_trial_of_each_subject_is_explained_and_a_failure_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from eavdash.explain import trial as explaining

    study = make_study(tmp_path)
    asked: list[tuple[str, str]] = []

    def explain(study: StudyDir, subject: str, trial: str) -> None:
        asked.append((subject, trial))
        if subject == "2":
            raise EavdashError("its recording is gone.")

    monkeypatch.setattr(explaining, "explain_trial", explain)
    _explain_some(study)
    assert asked == [("1", "2"), ("2", "2"), ("3", "2")]
    assert "its recording is gone." in capsys.readouterr().err
    _explain_some(make_study(tmp_path, "none", states={"*": "failed"}))
    assert len(asked) == 3
