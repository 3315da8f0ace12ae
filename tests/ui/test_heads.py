"""Attention per layer and head, on its page and with one trial's explanation."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import attention_rows, make_explanation, make_study, write_parquet
from streamlit.testing.v1 import AppTest
from test_pages import checkpoints, open_page, page_text

from eavdash.explain.explanation import save_explanation
from eavdash.store import RunDir

__all__ = ["checkpoints"]


def charts(app: AppTest, key: str) -> list[list[dict]]:
    """Return the traces of the figures whose keys contain ``key``."""
    found = [element.proto for element in app.get("plotly_chart")]
    return [json.loads(proto.spec)["data"] for proto in found if key in proto.id]


def numbers(value: dict | list) -> np.ndarray:
    """Return an array of a Plotly document, packed or not."""
    if isinstance(value, list):
        return np.asarray(value, dtype=float)
    flat = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
    return flat.reshape([int(n) for n in str(value.get("shape", len(flat))).split(",")])


def detail(study_page: str = "attention") -> AppTest:
    """Open the page with its details expanded."""
    app = open_page(study_page)
    app.session_state["explain_attention_heads"] = True
    app.run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def without_audio(run: RunDir, layers: int = 1) -> None:
    """Remove the audio of all test trials of the run."""
    frame = pd.read_parquet(run.predictions_file)
    shares = ["attention_vision", "attention_audio", "attention_eeg"]
    frame["attention_audio"] = 0.0
    frame[shares] = frame[shares].div(frame[shares].sum(axis=1), axis=0)
    write_parquet(run.predictions_file, frame)
    write_parquet(run.attention_file, attention_rows(frame, layers))
    run.update(checksums=run.seal())


def test_details_are_read_only_on_request(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(checkpoints)
    asked = []
    monkeypatch.setattr("eavdash.ui.explain.attention_heads.study_heads", lambda study, fused: asked.append(study.name))
    open_page("attention")
    assert asked == []
    detail()
    assert asked == ["demo"]


def test_each_head_is_shown_and_the_decisions_can_be_chosen(checkpoints: Path) -> None:
    make_study(checkpoints)
    app = detail()
    (shares,) = charts(app, "head_shares")
    assert [t["name"] for t in shares] == ["Vision", "Audio", "EEG"]
    assert shares[0]["x"] == ["head 1", "head 2", "head 3", "head 4", "mean"]
    assert np.sum([numbers(t["y"]) for t in shares], axis=0) == pytest.approx(100)
    maps = charts(app, "explain_attention_map")
    assert len(maps) == 4
    assert all(numbers(m[0]["z"]).sum(axis=1) == pytest.approx(100) for m in maps)
    assert "n = 30 decisions" in page_text(app)
    app.selectbox(key="explain_attention_heads_subject").select("2").run()
    assert "n = 10 decisions" in page_text(app)
    app.selectbox(key="explain_attention_heads_label").select("Anger").run()
    assert "n = 2 decisions" in page_text(app)


def test_missing_modalities_several_layers_and_older_or_damaged_runs(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    for name in ("s01-fusion", "s02-fusion"):
        without_audio(study.run(name), layers=2)
    older = study.run("s03-fusion")
    older.attention_file.unlink()
    older.update(checksums=older.seal())
    app = detail()
    text = page_text(app)
    assert "without a share: Audio in 20 of 30 decisions" in text
    assert "s03-fusion" in text
    assert "Not recorded in any of these decisions: Audio." in text
    assert len(charts(app, "explain_attention_map")) == 4
    app.button_group(key="explain_attention_layer").set_value("2").run()
    assert "Layer 2, head 4" in page_text(app)
    study.run("s01-fusion").attention_file.write_bytes(b"x")
    app.run()
    assert any("attention.parquet" in e.value for e in app.error)
    app.selectbox(key="explain_attention_heads_subject").select("1").run()
    assert "No decision matches" in page_text(app)


def test_an_explained_trial_shows_its_heads(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    app = open_page("trial")
    assert not charts(app, "explain_trial_map")
    save_explanation(study.run("s01-fusion"), make_explanation(study, "s01-fusion", "1", "2"))
    app = open_page("trial")
    assert len(charts(app, "explain_trial_map_")) == 4
    app.button_group(key="explain_trial_layer").set_value("2").run()
    assert "Layer 2, head 1" in page_text(app)
    (shares,) = charts(app, "explain_trial_head_shares")
    assert np.sum([numbers(t["y"]) for t in shares], axis=0) == pytest.approx(100)
