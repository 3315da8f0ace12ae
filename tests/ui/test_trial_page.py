"""The page One trial: one selection, the part of each modality, the question, the maps and their receipts."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_study import CLASSES, make_explanation, make_study, write_parquet
from streamlit.testing.v1 import AppTest
from test_heads import charts, numbers
from test_pages import PAGES, ROOT, checkpoints, open_page, page_text
from test_player import trial as recording
from test_player import unpacked

from eavdash.cli.main import parser
from eavdash.config.choices import MODALITIES
from eavdash.explain.check_record import Check
from eavdash.explain.explanation import Explanation, save_explanation
from eavdash.jobs import background
from eavdash.results import tables
from eavdash.store import RunDir, StudyDir
from eavdash.store.task import TaskDir, TaskStatus
from eavdash.ui import player as component
from eavdash.ui.data import trial_view
from eavdash.ui.explain import choose_trial, playing
from eavdash.ui.player import PlayerTrial

__all__ = ["checkpoints"]

FAILED = Check(name="infidelity", value=0.9, threshold=0.5, verdict="fail", reason="random weights draw it too.")
DOUBTFUL = Check(name="stability", value=0.6, threshold=0.7, verdict="doubtful", reason="noise changes the map.")
PASSED = Check(name="completeness", value=0.01, threshold=0.05, verdict="pass", reason="the gap is small.")


def decision(study: StudyDir, subject: str = "1", trial: str = "2") -> pd.Series:
    """Return the fusion's row of a trial."""
    return tables.trials(study, ["fusion"]).query("subject == @subject and trial == @trial").iloc[0]


def explained(study: StudyDir, **changed: Any) -> Explanation:
    """Make an explanation of the decision on trial 2 of subject 1 by expected gradients, as it is stored today."""
    made = make_explanation(study, "s01-fusion", "1", "2")
    rates = {"vision": 1.0, "audio": 100.0, "eeg": 100.0}
    times = {
        m: np.where(mask, 5.0 * np.arange(2)[:, None] + np.arange(mask.shape[1]) / rates[m], np.nan)
        for m, mask in made.masks.items()
    }
    checks = changed.pop("checks", ())
    today = {
        "method": "expected_gradients",
        "baseline": "mixed",
        "predicted": str(decision(study)["predicted"]),
        "target": str(decision(study)["predicted"]),
        "times": times,
        "frequencies": {"audio": np.geomspace(50, 7900, 128)},
        "crops": np.tile(np.float32([0.1, 0.1, 0.9, 0.9]), (2, 5, 1)),
        "baseline_probabilities": {"fusion": np.array([[0.1, 0.6, 0.1, 0.1, 0.1]] * 2)},
        "receipts": made.receipts.model_copy(update={"checks": tuple(checks)}),
    }
    return replace(made, **{**today, **changed})


def stored(study: StudyDir, **changed: Any) -> Explanation:
    """Store :func:`explained` and return it."""
    made = explained(study, **changed)
    save_explanation(study.run("s01-fusion"), made)
    return made


def write_coalitions(run: RunDir) -> None:
    """Write shapley.parquet of a run: each modality adds its part of the way to the decision."""
    frame = pd.read_parquet(run.predictions_file).query("split == 'test' and frame == -1")
    weights = dict(zip(MODALITIES, (0.7, 0.2, 0.1), strict=True))
    base, rows = np.log(1 / len(CLASSES)), []
    for row in frame.to_dict("records"):
        for names in (c for n in range(4) for c in itertools.combinations(MODALITIES, n)):
            for name in CLASSES:
                value = base + (np.log(row[f"p_{name}"]) - base) * sum(weights[m] for m in names)
                rows.append((row["subject"], row["trial"], row["window"], name, "+".join(names), value))
    table = pd.DataFrame(rows, columns=["subject", "trial", "window", "class", "coalition", "value"])
    write_parquet(run.shapley_file, table.astype({"value": "float32"}))
    run.update(checksums=run.seal())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the tasks that the page has started; none runs."""
    found: list[list[str]] = []
    monkeypatch.setattr("eavdash.ui.tasks.start", lambda command, title, study: found.append(list(command)))
    monkeypatch.setattr("eavdash.ui.tasks.panel", lambda *_, **__: None)
    return found


def open_link(**choices: str) -> AppTest:
    """Open the page by a link."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.run()
    app.switch_page(PAGES["trial"])
    for name, value in choices.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def command_options(command: list[str]) -> dict[str, str]:
    """Return the options of ``explain`` as the command line reads them."""
    found = parser().parse_args(command)
    return {f"--{name}": value for name, value in vars(found).items()}


def headline(app: AppTest) -> str:
    return str(app.subheader[0].value).replace("\\", "")


@pytest.mark.parametrize("outcome", ["all", "right", "wrong"])
def test_filters_leave_the_picker_the_headline_and_the_address_at_one_trial(outcome: str, checkpoints: Path) -> None:
    study = make_study(checkpoints, trials=20)
    app = open_page("trial")
    app.selectbox(key="explain_trial_trial").select("2").run()
    for label in (*CLASSES, None):
        app.selectbox(key="explain_trial_outcome").select(outcome)
        app.selectbox(key="explain_trial_label").set_value(label).run()
        assert not app.exception
        rows = tables.trials(study, ["fusion"]).query("subject == '1'")
        rows = rows[(rows["label"] == label) if label else slice(None)]
        rows = rows if outcome == "all" else rows[rows["correct"] == (outcome == "right")]
        picked = app.selectbox(key="explain_trial_trial").value
        if rows.empty:
            assert picked is None
            assert "No trial matches" in page_text(app)
            continue
        assert picked in set(rows["trial"])
        row = rows[rows["trial"] == picked].iloc[0]
        assert f"Subject 1, trial {picked}, label {row['label']}: Fusion predicts {row['predicted']}" in headline(app)
        assert headline(app).endswith("right." if row["correct"] else "wrong.")
        assert app.query_params["trial"] == picked


def test_a_link_opens_the_same_and_nonsense_in_it_is_harmless(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    target = next(c for c in CLASSES if c != decision(study, "2", "8")["predicted"])
    app = open_link(subject="2", trial="8", outcome="all", of="eeg", target=target, method="integrated_gradients-mean")
    assert "Subject 2, trial 8" in headline(app)
    assert app.selectbox(key="explain_trial_of").value == "eeg"
    assert app.selectbox(key="explain_trial_method").value == "integrated_gradients-mean"
    assert app.query_params["of"] == "eeg"
    assert not any("address" in w.value for w in app.warning)
    app = open_link(subject="<b>", trial="../..", outcome="x", label="y", of="z", target="?", against="1", method="m")
    assert "Subject 1, trial 2" in headline(app)
    assert app.selectbox(key="explain_trial_target").value == "predicted"
    assert app.query_params["subject"] == "1"


@pytest.mark.parametrize(
    ("asked", "found"), [({"subject": "2", "trial": "99"}, "Subject 2"), ({"subject": "9", "trial": "8"}, "Subject 1")]
)
def test_a_link_to_a_trial_that_is_not_shown_says_so_once(asked: dict[str, str], found: str, checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_link(**asked)
    assert found in headline(app)
    words = f"asks for subject {asked['subject']}, trial {asked['trial']}, which is no tested trial"
    assert any(words in warning.value for warning in app.warning)
    app.run()
    assert not any("asks for" in warning.value for warning in app.warning)


def test_a_class_by_name_in_a_link_is_shown_by_its_role(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    wrong = tables.trials(study, ["fusion"]).query("not correct").iloc[0]
    app = open_link(subject=wrong["subject"], trial=wrong["trial"], target=wrong["label"], against=wrong["predicted"])
    assert app.selectbox(key="explain_trial_target").value == "true"
    assert app.query_params["target"] == "true"
    assert app.selectbox(key="explain_trial_against").value == "runner-up"


def test_words_follow_the_classes(checkpoints: Path) -> None:
    assert choose_trial.label_word(CLASSES) == "emotion"
    assert choose_trial.label_word(("left hand", "right hand")) == "label"
    make_study(checkpoints, classes=("left hand", "right hand"))
    app = open_page("trial")
    assert app.selectbox(key="explain_trial_label").label == "Label"
    assert "motion" not in page_text(app)


def test_the_waterfall_adds_up_and_a_disagreement_is_explained(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    write_coalitions(study.run("s01-fusion"))
    made = stored(study)
    app = open_page("trial")
    row = decision(study)
    (bars,) = charts(app, "explain_trial_waterfall")
    assert [b["y"][0] for b in bars][:4] == ["Training share", "Vision", "Audio", "EEG"]
    ends = [numbers(b["base"])[0] + numbers(b["x"])[0] for b in bars]
    assert ends[0] == pytest.approx(np.log(1 / 5))
    assert ends[-2] == pytest.approx(ends[-1], abs=1e-5)
    lengths = {b["y"][0]: numbers(b["x"])[0] for b in bars}
    assert lengths["Vision"] / lengths["EEG"] == pytest.approx(7, rel=1e-3)
    table = app.dataframe[0].value
    assert table["Share"].tolist() == ["70\xa0%", "20\xa0%", "10\xa0%"]
    assert table["Map"][0] == f"{made.sums['vision']:+.2f}".replace("-", "−")
    gap = max(abs(row[f"attention_{m}"] - share) for m, share in zip(MODALITIES, (0.7, 0.2, 0.1), strict=True))
    assert ("Attention says" in page_text(app)) == (gap >= 0.1)


def test_a_study_without_coalitions_gets_them_by_a_task(checkpoints: Path, started: list[list[str]]) -> None:
    run = make_study(checkpoints).run("s01-fusion")
    run.shapley_file.unlink(missing_ok=True)
    run.update(checksums=run.seal())
    app = open_page("trial")
    app.button(key="explain_trial_shapley").click().run()
    assert started == [["shapley", "demo"]]


def test_a_damaged_file_of_coalitions_is_named(checkpoints: Path) -> None:
    run = make_study(checkpoints).run("s01-fusion")
    write_coalitions(run)
    run.shapley_file.write_bytes(b"x")
    app = open_page("trial")
    assert any("shapley.parquet" in e.value for e in app.error)
    assert app.selectbox(key="explain_trial_of").value == "fusion", "the maps are still there"


def test_maps_are_computed_by_tasks_for_the_question_asked(checkpoints: Path, started: list[list[str]]) -> None:
    study = make_study(checkpoints)
    app = open_page("trial")
    row = decision(study)
    app.selectbox(key="explain_trial_against").select("runner-up").run()
    app.button(key="explain_trial_compute").click().run()
    second = sorted(CLASSES, key=lambda c: -row[f"p_{c}"])[1]
    (command,) = started
    assert command[:4] == ["explain", "demo", "--subject=1", "--trial=2"]
    options = command_options(command)
    assert options["--target"] == row["predicted"]
    assert options["--against"] == second
    assert (options["--stage"], options["--method"], options["--baseline"]) == ("fusion", "expected_gradients", "mixed")
    app.button(key="explain_trial_wrong").click().run()
    assert command_options(started[1])["--trials"] == "wrong"


def test_stored_maps_open_at_once_and_are_listed(checkpoints: Path, started: list[list[str]]) -> None:
    study = make_study(checkpoints)
    row = decision(study)
    save_explanation(
        study.run("s01-fusion"), replace(make_explanation(study, "s01-fusion", "1", "2"), predicted=row["predicted"])
    )
    app = open_page("trial")
    assert app.selectbox(key="explain_trial_method").value == "integrated_gradients-mean", "of an earlier version"
    assert charts(app, "explain_trial_eeg")
    other = next(c for c in CLASSES if c != row["predicted"])
    stored(study, target=other)
    app.run()
    pills = app.button_group(key="explain_trial_stored")
    assert len(pills.options) == 2
    pills.set_value(next(n for n, text in enumerate(pills.options) if other in str(text))).run()
    assert not app.exception, app.exception[0].stack_trace
    assert app.selectbox(key="explain_trial_method").value == "expected_gradients-mixed"
    assert "explain_trial_compute" not in [b.key for b in app.button]
    assert f"why {other}" in page_text(app)
    assert not started


def test_the_baseline_and_receipts_are_told(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    stored(study, checks=(PASSED, DOUBTFUL))
    app = open_page("trial")
    text = page_text(app)
    assert "Decisions at the baseline: Fusion Calmness (60 %)" in text
    assert "Receipts: 1 pass, 1 doubtful" in [e.label for e in app.expander]
    assert "Doubtful (Stability): noise changes the map." in text
    assert "Completeness gap of this window: 0.01 logits" in text
    assert "not reliable" not in text
    app.button_group(key="explain_trial_window").set_value("1").run()
    assert "Not recorded in this window: Audio" in page_text(app)
    assert app.query_params["window"] == "1"


def test_the_check_of_a_run_is_watched_on_the_page(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(checkpoints)
    stored(study, checks=(PASSED,))

    def submit(root: Path, command: list[str], *, title: str, study: str) -> None:
        waiting = TaskStatus(state="queued", command=tuple(command), title=title, study=study, created=time.time())
        TaskDir(root, "receipts-1").create(waiting)

    monkeypatch.setattr(background, "submit_task", submit)
    app = open_page("trial")
    app.button(key="explain_trial_check_run").click().run()
    assert not app.exception, app.exception[0].stack_trace
    assert "Check the maps of s01-fusion: queued" in page_text(app)
    assert app.button(key="explain_trial_task_run_cancel")


def test_a_failed_map_is_marked_on_the_page_and_in_its_pictures(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    stored(study, checks=(PASSED, FAILED))
    app = open_page("trial")
    assert "not reliable: Infidelity: random weights draw it too." in page_text(app)
    for name in ("eeg", "audio"):
        layout = [e.proto.spec for e in app.get("plotly_chart") if f"explain_trial_{name}" in e.proto.id]
        assert all("Not reliable: Infidelity" in spec for spec in layout), name
        assert layout
    table = app.table[0].value
    assert table["Verdict"].tolist() == ["✕ fail", "✓ pass"]


def test_attention_is_shown_for_what_it_is(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    made = explained(study)
    share = np.full_like(made.attributions["eeg"], 1 / made.attributions["eeg"][0].size)
    stored(
        study,
        method="electrode_attention",
        baseline="none",
        unit="share of attention",
        attributions={"eeg": share},
        baseline_probabilities={},
        receipts=made.receipts.model_copy(update={"completeness": [], "baselines": {}, "checks": (), "steps": 0}),
    )
    app = open_page("trial")
    assert app.selectbox(key="explain_trial_method").value == "electrode_attention-none"
    assert charts(app, "explain_trial_eeg")
    assert not charts(app, "explain_trial_audio")
    text = page_text(app)
    assert "is not an attribution: it shows where encoders look" in text
    assert "(+1.00 share)" in text
    assert "Completeness gap" not in text
    assert "not reliable" not in text


def test_a_method_that_cannot_read_the_encoder_says_so_before_it_is_started(checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_link(method="electrode_attention-none", of="audio")
    assert "Electrode attention reads the attention inside encoders eegformer" in page_text(app)
    assert "explain_trial_compute" not in [b.key for b in app.button]
    app.selectbox(key="explain_trial_of").select("eeg").run()
    assert not app.exception
    assert "explain_trial_compute" in [b.key for b in app.button]


def test_of_nothing_there_is_no_map(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    gap = {"output": 1.0, "baseline": 0.95, "total": 0.05, "gap": 0.0, "relative_gap": 0.0, "explained": 0.05}
    made = explained(study)
    stored(study, receipts=made.receipts.model_copy(update={"completeness": [gap, {**gap, "explained": 1.0}]}))
    app = open_page("trial")
    assert "Nothing to explain in this window" in page_text(app)
    assert not charts(app, "explain_trial_eeg")
    app.button_group(key="explain_trial_window").set_value("1").run()
    assert charts(app, "explain_trial_eeg")


def test_maps_share_a_scale_unless_asked_and_come_in_order(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    made = explained(study)
    weak = {**made.attributions, "eeg": 1e-3 * made.attributions["eeg"]}
    stored(study, attributions=weak)
    app = open_page("trial")

    def full(name: str) -> float:
        return max(trace.get("zmax", 0) for trace in charts(app, f"explain_trial_{name}")[0])

    assert full("eeg") == full("audio")
    order = [m.value for m in app.markdown if "logits)" in m.value]
    assert [next(m for m in ("Vision", "Audio", "EEG") if m in text) for text in order][-1] == "EEG"
    app.button_group(key="explain_trial_scale").set_value("own").run()
    assert full("eeg") < 0.1 * full("audio")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """The blocks that players were given; the recordings are made ones, of 10 s."""
    found: list[tuple[dict[str, Any], dict[str, np.ndarray]]] = []
    usual = component._component
    monkeypatch.setattr(
        component, "_component", lambda **given: found.append(unpacked(given["data"])) or usual(**given)
    )
    monkeypatch.setattr(playing, "_preview", lambda study, explanation: recording(duration=10.0))
    monkeypatch.setattr(trial_view, "player_trial", PlayerTrial)
    return found


def test_the_player_has_the_maps_on_one_scale_and_charts_on_request(
    checkpoints: Path, sent: list[tuple[dict[str, Any], dict[str, np.ndarray]]]
) -> None:
    study = make_study(checkpoints)
    made = explained(study)
    weak = {**made.attributions, "eeg": 1e-3 * made.attributions["eeg"]}
    stored(study, checks=(FAILED,), attributions=weak, crops=None)
    app = open_page("trial")
    header, _ = sent[-1]
    assert header["failed"] == "Not reliable: Infidelity"
    assert [o["lane"] for o in header["overlays"]] == ["spectrogram", "eeg", "scalp", "scalp"]
    assert len({o["limit"] for o in header["overlays"]}) == 1
    assert {o["unit"] for o in header["overlays"]} == {"logits per area"}
    assert "compute them again to see them over it" in page_text(app), "without the places of its pictures"
    assert app.button(key="explain_trial_compute").label == "Compute it again"
    assert not charts(app, "explain_trial_eeg")
    app.button_group(key="explain_trial_scale").set_value("own").run()
    assert len({o["limit"] for o in sent[-1][0]["overlays"]}) == 2
    app.session_state["explain_trial_charts"] = True
    app.run()
    assert charts(app, "explain_trial_eeg")


def test_window_playhead_and_link_agree(
    checkpoints: Path, sent: list[tuple[dict[str, Any], dict[str, np.ndarray]]]
) -> None:
    study = make_study(checkpoints)
    stored(study)
    app = open_link(subject="1", trial="2", time="6.25", window="0")
    assert sent[-1][0]["seek"][1] == 6.25
    assert app.button_group(key="explain_trial_window").value == "1", "the window at the playhead"
    wish = sent[-1][0]["seek"]
    app.button_group(key="explain_trial_window").set_value("0").run()
    assert sent[-1][0]["seek"] == [wish[0] + 1, 0.0]
    assert app.query_params["time"] == [""] or app.query_params["time"] == ""
    app.selectbox(key="explain_trial_trial").select("4").run()
    app.selectbox(key="explain_trial_trial").select("2").run()
    assert sent[-1][0]["seek"] is None, "the time belongs to the other trial"
    for nonsense in ("x", "-3", "1e300", "nan"):
        app = open_link(subject="1", trial="2", time=nonsense)
        assert sent[-1][0]["seek"] is None


def test_another_map_or_trial_is_shown_beside_it(
    checkpoints: Path, sent: list[tuple[dict[str, Any], dict[str, np.ndarray]]]
) -> None:
    study = make_study(checkpoints)
    stored(study)
    stored(study, method="integrated_gradients", baseline="mean", checks=(FAILED,))
    save_explanation(study.run("s01-fusion"), replace(explained(study), trial="4"))
    app = open_page("trial")
    choice = app.selectbox(key="explain_trial_beside")
    assert [text.split(" (")[0] for text in choice.options][-1] == "Trial 4"
    choice.select_index(0).run()
    assert not app.exception
    leads, follows = sent[-2][0], sent[-1][0]
    assert [o["lane"] for o in leads["overlays"]] == ["video", "spectrogram", "eeg", "scalp", "scalp"]
    assert (leads["follows"], follows["follows"]) == ("", "explain_trial_player")
    assert {leads["failed"], follows["failed"]} == {"", "Not reliable: Infidelity"}
    assert [o["limit"] for o in leads["overlays"]] == [o["limit"] for o in follows["overlays"]]
    app = open_link(subject="1", trial="2", beside="trial~4")
    assert sent[-1][0]["follows"] == ""
    assert "Subject 1, trial 4" in page_text(app)
    app = open_link(subject="1", trial="2", beside="trial~../x")
    assert app.selectbox(key="explain_trial_beside").value is None
    assert sent[-1][0]["name"] == "explain_trial_player"


def test_without_the_recordings_the_charts_stand_alone(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    stored(study, spectrum=np.ones((2, 11, 251), np.float32), spectrum_frequencies=np.arange(251) / 5)
    app = open_page("trial")
    assert any("found one outside of them" in error.value for error in app.error)
    assert charts(app, "explain_trial_eeg")
    (traces,) = charts(app, "explain_trial_frequencies")
    assert numbers(traces[0]["z"]).max() == pytest.approx(11 * 251), "per area"
    words = next(e.proto.spec for e in app.get("plotly_chart") if "explain_trial_frequencies" in e.proto.id)
    assert "alpha +275.00" in words.replace("\\u2212", "-"), "11 channels of 25 frequencies"
