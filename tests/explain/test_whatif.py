"""What-ifs of a trained study: what is unchanged, what runs again, and what agrees with shapley.parquet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recordings import LABELS, make_recordings
from test_explain_trial import trials_tested_by
from trained import train

from eavdash.cli.main import main
from eavdash.config.choices import MODALITIES
from eavdash.errors import EavdashError, UsageError
from eavdash.explain import whatif, whatif_worker
from eavdash.explain.changes.base import Change
from eavdash.explain.changes.registry import changes_of
from eavdash.explain.game import Game
from eavdash.explain.outcome import outcome
from eavdash.explain.whatif import TrialSession, what_if
from eavdash.explain.whatif_record import Outcome, WhatIf
from eavdash.results import shapley
from eavdash.store import RunDir, StudyDir
from eavdash.store.record import read_record

WITHOUT_AUDIO = "3"


def asked(*pairs: str) -> tuple[Change, ...]:
    """Changes from words such as ``drop audio``."""
    return changes_of([pair.split(" ", 1) for pair in pairs])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = make_recordings(tmp_path_factory.mktemp("whatif") / "data", subjects=1)
    frame = pd.read_csv(table)
    frame.loc[frame["trial"].astype(str) == WITHOUT_AUDIO, "audio"] = ""
    frame.to_csv(table, index=False)
    return table


@pytest.fixture(scope="module")
def study(data: Path) -> StudyDir:
    return train(data, "small", data.parents[1] / "checkpoints")


@pytest.fixture(scope="module")
def run(study: StudyDir) -> RunDir:
    return study.run("s01-fusion")


def one_tested(run: RunDir) -> str:
    return next(t for t in trials_tested_by(run) if t != WITHOUT_AUDIO)


@pytest.fixture(scope="module")
def session(study: StudyDir, run: RunDir) -> TrialSession:
    return TrialSession(study, run, "1", one_tested(run))


def probabilities(outcome: Outcome, stage: str = "fusion") -> np.ndarray:
    """Of each window (window, class)."""
    return np.array([[w.probabilities[stage][c] for c in LABELS] for w in outcome.windows])


def stored(run: RunDir, trial: str, coalition: str) -> np.ndarray:
    """Log-probabilities (window, class) of a coalition in shapley.parquet."""
    table = pd.read_parquet(run.shapley_file)
    rows = table[(table["trial"] == trial) & (table["coalition"] == coalition)]
    return rows.pivot_table(index="window", columns="class", values="value")[list(LABELS)].to_numpy()


def agrees_with_file(found: WhatIf, run: RunDir, dropped: str) -> None:
    """Check that a modality dropped is the coalition without it, and that the values before are the stored ones."""
    rest = "+".join(m for m in MODALITIES if m != dropped)
    assert np.log(probabilities(found.after)) == pytest.approx(stored(run, found.trial, rest), abs=1e-5)
    assert np.log(probabilities(found.before)) == pytest.approx(
        stored(run, found.trial, "+".join(MODALITIES)), abs=1e-5
    )
    kept = shapley.waterfall(shapley.of_run(run), run.name, "1", found.trial, found.target)
    assert dict(found.before.steps) == pytest.approx(dict(kept.steps), abs=1e-5)
    assert found.before.shapley == pytest.approx(kept.shapley, abs=1e-5)
    assert set(found.after.shapley) == set(MODALITIES) - {dropped}
    steps = found.difference()
    assert [name for name, _ in steps] == ["base", *MODALITIES, "decision"]
    assert sum(value for _, value in steps[:-1]) == pytest.approx(steps[-1][1], abs=1e-6)


@pytest.mark.parametrize("dropped", MODALITIES)
def test_dropping_is_the_coalition_without_it(session: TrialSession, run: RunDir, dropped: str) -> None:
    found = session.ask(asked(f"drop {dropped}"))
    agrees_with_file(found, run, dropped)
    assert found.reproduction is not None
    assert found.reproduction < 1e-5
    assert found.encoders_run == ()
    assert found.after.attention[dropped] == 0
    assert sum(found.after.attention.values()) == pytest.approx(1, abs=1e-5)


def test_a_fusion_that_knows_no_absence_gets_the_training_means(data: Path) -> None:
    study = train(data, "means", data.parents[1] / "checkpoints", ("fusion.kind=concat", "fusion.modality_dropout=0"))
    run = study.run("s01-fusion")
    agrees_with_file(what_if(study, "1", one_tested(run), asked("drop eeg")), run, "eeg")


def test_the_decision_before_is_made_once(session: TrialSession, monkeypatch: pytest.MonkeyPatch) -> None:
    first = session.ask(asked("drop eeg"))
    decided = []
    monkeypatch.setattr(whatif, "outcome", lambda *of: decided.append(of) or outcome(*of))
    second = session.ask(asked("drop audio"))
    assert len(decided) == 1
    assert (second.before, second.reproduction) == (first.before, first.reproduction)


@pytest.mark.parametrize("whose", ["", "@1"])
def test_a_swap_with_itself_is_refused(session: TrialSession, whose: str) -> None:
    with pytest.raises(UsageError, match="a swap with another trial"):
        session.ask(asked(f"swap audio={session.trial}{whose}"))


def test_everything_of_another_trial_is_the_decision_on_it(session: TrialSession, study: StudyDir, run: RunDir) -> None:
    other = next(t for t in trials_tested_by(run) if t not in (session.trial, WITHOUT_AUDIO))
    found = session.ask(asked(*(f"swap {m}={other}@1" for m in MODALITIES)))
    there = what_if(study, "1", other, asked("drop eeg"))
    assert probabilities(found.after) == pytest.approx(probabilities(there.before), abs=1e-6)


def test_only_the_changed_encoder_runs(session: TrialSession) -> None:
    session.ask(asked("drop eeg"))  # the trial as it is is encoded now
    count: Counter[str] = Counter()
    hooks = [
        encoder.register_forward_hook(lambda *_, name=name: count.update([name]))
        for name, encoder in session.model.encoders.items()
    ]
    try:
        found = session.ask(asked("noise audio:3", "drop eeg"))
        assert dict(count) == {"audio": 1}
        again = session.ask(asked("noise audio:3"))
        assert dict(count) == {"audio": 1}
        assert again.encoders_run == ()
        assert found.encoders_run == ("audio",)
        assert not np.array_equal(probabilities(again.after, "audio"), probabilities(again.before, "audio"))
        for name in ("vision", "eeg"):
            assert np.array_equal(probabilities(again.after, name), probabilities(again.before, name))
    finally:
        for hook in hooks:
            hook.remove()


def test_noise_is_the_same_in_every_process(session: TrialSession, study: StudyDir, run: RunDir) -> None:
    changes = asked("noise eeg:0")
    fresh = TrialSession(study, run, "1", session.trial).ask(changes)
    assert probabilities(session.ask(changes).after) == pytest.approx(probabilities(fresh.after), abs=1e-7)


def test_covering_the_planted_place_changes_the_opinion_of_vision_most(data: Path) -> None:
    """The bar of the label tense lies where the mouth is in a crop (recordings.py), and nothing lies at the eyes."""
    root = data.parents[1] / "checkpoints"
    study = train(data, "seen", root, ("train.vision.epochs=12", "stages=vision"))
    run = study.run("s01-vision")
    trial = next(t for t in trials_tested_by(run) if (int(t) - 1) % 3 == 2)
    session = TrialSession(study, run, "1", trial)

    def moved(part: str) -> float:
        found = session.ask(asked(f"cover {part}"))
        return float(np.abs(probabilities(found.after, "vision") - probabilities(found.before, "vision")).max())

    assert moved("mouth") > 3 * moved("eyes")


def test_a_modality_alone_has_neither_shares_nor_shapley_values(study: StudyDir, run: RunDir) -> None:
    found = what_if(study, "1", one_tested(run), asked("mute eeg:8-12"), stage="eeg")
    assert (found.stage, found.run, found.modalities) == ("eeg", "s01-eeg", ("eeg",))
    assert not found.after.shapley
    assert not found.after.attention
    assert found.difference() == ()
    assert found.sentence.startswith("With 8–12 Hz muted in EEG the decision ")
    with pytest.raises(UsageError, match="leave a modality to decide from"):
        what_if(study, "1", one_tested(run), asked("drop eeg"), stage="eeg")
    with pytest.raises(UsageError, match="changes of EEG"):
        what_if(study, "1", one_tested(run), asked("drop audio"), stage="eeg")


def test_a_window_of_which_nothing_is_left_is_left_out(study: StudyDir, run: RunDir) -> None:
    found = what_if(study, "1", one_tested(run), asked("drop audio", "drop vision", "shift eeg:1"))
    assert not found.after.windows[0].predicted
    assert found.after.windows[1].predicted
    assert "window 1" in found.notes[0]
    only = [found.after.windows[1].probabilities["fusion"][c] for c in LABELS]
    assert [found.after.probabilities["fusion"][c] for c in LABELS] == pytest.approx(only)


def test_what_was_not_recorded_can_only_be_swapped_in(study: StudyDir, run: RunDir) -> None:
    if WITHOUT_AUDIO not in trials_tested_by(run):
        pytest.fail("the fixture's trial without audio must be a test trial")
    with pytest.raises(UsageError, match="a recording of audio to change"):
        what_if(study, "1", WITHOUT_AUDIO, asked("noise audio:3"))
    found = what_if(study, "1", WITHOUT_AUDIO, asked(f"swap audio={one_tested(run)}"))
    assert "audio" not in found.before.shapley
    assert "audio" in found.after.shapley
    with pytest.raises(UsageError, match="a trial with audio"):
        what_if(study, "1", one_tested(run), asked(f"swap audio={WITHOUT_AUDIO}"))


def test_a_swap_with_a_training_trial_is_noted(session: TrialSession, run: RunDir) -> None:
    frame = pd.read_parquet(run.predictions_file)
    trained = frame.loc[frame["split"] == "train", "trial"].iloc[0]
    assert any("trained on" in note for note in session.ask(asked(f"swap eeg={trained}")).notes)


def test_the_game_sees_a_planted_mistake(study: StudyDir, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A game that forgets to mask what is outside a coalition is caught by the comparison with shapley.parquet."""
    session = TrialSession(study, run, "1", one_tested(run))
    decide = Game.decide
    monkeypatch.setattr(Game, "decide", lambda self, rows, members: decide(self, rows, torch.ones_like(members)))
    with pytest.raises(AssertionError):
        agrees_with_file(session.ask(asked("drop vision")), run, "vision")


def test_the_warm_process_gives_the_same_and_keeps_the_model(study: StudyDir, run: RunDir) -> None:
    def request(trial: str, changes: list[list[str]]) -> dict[str, object]:
        asked_for = {"run": run.name, "subject": "1", "trial": trial, "changes": changes, "folders": None}
        return {"study": str(study.path), **asked_for}

    assert whatif_worker.answer(request(one_tested(run), [])) == ({}, [])
    model = next(iter(whatif_worker._sessions.values())).model
    content, arrays = whatif_worker.answer(request(one_tested(run), [["drop", "audio"]]))
    found = WhatIf.model_validate(content)
    assert arrays == []
    direct = what_if(study, "1", one_tested(run), asked("drop audio"))
    assert probabilities(found.after) == pytest.approx(probabilities(direct.after))
    whatif_worker.answer(request(WITHOUT_AUDIO, []))
    assert [s.model is model for s in whatif_worker._sessions.values()] == [True, True]
    with pytest.raises(EavdashError, match="expected"):
        whatif_worker.answer(request(one_tested(run), [["drop", "smell"]]))
    whatif_worker._sessions.clear()


def test_the_command_prints_and_stores_only_when_asked(
    study: StudyDir, run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(p for p in study.path.rglob("*") if p.is_file())
    words = ["whatif", "small", "--subject", "1", "--trial", one_tested(run), "--checkpoints", str(study.path.parent)]
    assert main([*words, "--drop", "audio", "--mute-band", "eeg:8-12"]) == 0
    printed = capsys.readouterr()
    assert "With audio dropped and 8–12 Hz muted in EEG" in printed.out
    assert "encoders that ran again: eeg" in printed.err
    file = tmp_path / "answer.json"
    assert main([*words, "--cover", "0,0,0.5,0.5", "--json", "--output", str(file)]) == 0
    assert '"encoders_run"' in capsys.readouterr().out
    assert read_record(file, WhatIf).encoders_run == ("vision",)
    assert sorted(p for p in study.path.rglob("*") if p.is_file()) == before
    for wrong in (
        [],
        ["--drop", "smell"],
        ["--drop", "audio", "--noise", "audio:1"],
        ["--mute", "eeg:90-99"],
        ["--mute", "eeg:8-900"],
        ["--swap", "audio=none"],
        ["--mute-electrode", "Xy"],
        ["--silence", "audio:5-9"],
        ["--silence", "audio:1-9"],
    ):
        assert main([*words, *wrong]) == 2, wrong
        error = capsys.readouterr().err.strip()
        assert error.startswith("eavdash: ")
        assert "expected" in error
        assert len(error.splitlines()) == 1
