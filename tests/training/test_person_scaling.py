"""Scaling by person: which trials the statistics come from, who gets them, and that a run keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import person_encoder
import pytest
import torch
from failing import fails
from recordings import FAST, make_recordings

from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.scaling import OTHERS
from eavdash.config.schema import ProtocolConfig, Selection
from eavdash.data.splits import make_splits
from eavdash.errors import DataError, IntegrityError, UsageError
from eavdash.explain.fused import load_fused_model
from eavdash.explain.trial import explain_trial
from eavdash.models.people import People, of_people, read_people
from eavdash.results.tables import predictions, scores
from eavdash.studies.write import prepare
from eavdash.training import run_context
from eavdash.training.features import features, load_encoder
from eavdash.training.fusion_features import FeatureSource, join_features
from eavdash.training.joint import JointSource
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, read_windows
from eavdash.training.stage1 import WindowSource

CPU = torch.device("cpu")
K = 4
ENCODERS = ("eegformer", "person")
MODES = ("off", f"calibration:{K}", "all")


@pytest.fixture(autouse=True)
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    person_encoder.offer(monkeypatch)


@pytest.fixture
def crowd(sandbox, tiny_config):
    """Return a function that makes a run over four people: 1 is tested, 2 validates."""
    trials = sandbox.trials
    alike = [trials.assign(subject=s, trial=trials["trial"] + s) for s in "1234"]  # the name decides the windows
    sandbox.trials = pd.concat(alike, ignore_index=True)

    def make(mode: str, encoder: str = "person", name: str = "study", stage: str = "eeg", *settings: str):
        changed = [f"protocol.subject_scaling={mode}", "protocol.name=loso", f"eeg.encoder={encoder}", *settings]
        config = with_settings(tiny_config(2), changed)
        splits = make_splits(sandbox.trials, config.protocol).frame
        sandbox.splits = splits[splits["fold"] == 0]
        first = sandbox.study(config, name)(stage)
        run = first.sibling(f"all-{stage}")
        parents = {m: f"all-{m}" for m in first.config().parents}
        run.create(first.config().replace(run=run.name, unit="all", subject="", parents=parents))
        return run

    return make


def trained(run) -> pd.DataFrame:
    """Train the run and return its predictions by window."""
    train_run(run)
    return pd.read_parquet(run.predictions_file).set_index(["subject", "trial", "window"])


def change(monkeypatch: pytest.MonkeyPatch, subject: str, trials: list[str]) -> None:
    """Make the recordings of these trials louder."""
    load = run_context.load_windows

    def louder(table, *rest):
        windows = load(table, *rest)
        here = (windows.index["subject"] == subject) & windows.index["trial"].isin(trials)
        windows.values[here.to_numpy()] *= 7
        return windows

    monkeypatch.setattr(run_context, "load_windows", louder)


def kept(run, subject: str = "1") -> list[str]:
    splits = pd.read_csv(run.study.splits_file, dtype=str)
    return splits.loc[(splits["split"] == "calibration") & (splits["subject"] == subject), "trial"].tolist()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_trials_for_calibration_are_neither_trained_on_nor_scored(crowd, sandbox, encoder, monkeypatch):
    run = crowd(MODES[1], encoder)
    asked = []
    load = WindowSource.load

    def noted(self, model, rows, augment):
        asked.extend(self.windows.index.iloc[rows.tolist()][["subject", "trial"]].itertuples(index=False, name=None))
        return load(self, model, rows, augment)

    monkeypatch.setattr(WindowSource, "load", noted)
    rows = trained(run)
    aside = {(s, t) for s in "1234" for t in kept(run, s)}
    assert len(aside) == 4 * K
    scored = {(s, t) for s, t, _ in rows.index}
    assert scored == set(asked)
    assert not scored & aside
    assert len(scored | aside) == len(sandbox.trials)
    assert run.config().input.windows == {"train": 2 * 52, "validation": 52, "test": 52}
    before = run.model_file.read_bytes()
    for subject, trial in aside:
        sandbox.trials.loc[(sandbox.trials["subject"] == subject) & (sandbox.trials["trial"] == trial), "label"] = "joy"
    other = crowd(MODES[1], encoder, "relabelled")
    trained(other)
    assert other.model_file.read_bytes() == before


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("mode", "by_scored", "by_calibration"), [(MODES[1], False, True), (MODES[2], True, True)])
def test_statistics_come_from_exactly_the_trials_of_the_mode(
    crowd, encoder, mode, by_scored, by_calibration, monkeypatch
):
    first = trained(crowd(mode, encoder))
    tested = first[first["split"] == "test"]
    probabilities = [c for c in first if c.startswith("p_")]
    aside = kept(crowd(MODES[1], encoder, "names"))
    scored = next(t for t in tested.index.get_level_values("trial") if t not in aside)
    rest = [t for t in tested.index.get_level_values("trial").unique() if t not in (*aside, scored)]
    for name, louder, expected in (("scored", [scored], by_scored), ("aside", aside, by_calibration)):
        with monkeypatch.context() as patch:
            change(patch, "1", louder)
            second = trained(crowd(mode, encoder, name))
        one, other = (rows.loc[[("1", t, w) for t in rest for w in (0, 1)], probabilities] for rows in (first, second))
        assert one.equals(other) != expected
        untouched = second.loc["2"][probabilities].equals(first.loc["2"][probabilities])
        assert untouched, "the statistics of other people"


def test_off_is_off_and_earlier_studies_keep_their_meaning(crowd):
    keys = {}
    for number, mode in enumerate((*MODES, "false", "true")):
        run = crowd(mode, "eegformer", f"study-{number}")
        windows = read_windows(open_run_context(run, CPU), "eeg")
        keys[mode] = windows.values.meta["key"]
        assert windows.people == {}
        assert ("subject_scaling" in windows.values.meta) == (mode not in ("off", "false"))
    assert keys["off"] == keys["false"]
    assert keys["all"] == keys["true"] == f"{keys['off']}-by-subject"
    assert keys[MODES[1]].startswith(f"{keys['off']}-calibration-{K}-")
    raw = crowd("off", "eegformer", "raw")
    config = raw.config().config
    for given, mode in ((False, "off"), (True, "all")):
        config["protocol"]["subject_scaling"] = given
        raw.describe(config=config)
        context = open_run_context(raw, CPU)
        assert context.config.protocol.subject_scaling == mode
        assert read_windows(context, "eeg").values.meta["key"] == keys[mode]


def test_an_encoder_that_scales_its_features_gets_windows_as_recorded(crowd):
    found = {}
    for mode in MODES:
        run = crowd(mode, "person", mode.partition(":")[0])
        windows = read_windows(open_run_context(run, CPU), "eeg")
        found[mode] = np.asarray(windows.values.values)
        assert {s: len(rows) for s, rows in windows.people.items()} == {
            s: {"off": 0, "all": 60}.get(mode, 2 * K) for s in ("1234" if mode != "off" else "")
        }
        train_run(run)
        assert run.config().input.subject_scaling is None
        assert read_people(run).names == (() if mode == "off" else ("1", "2", "3", "4", OTHERS))
        assert run.people_file.exists() == (mode != "off")
        assert (run.people_file.name in run.seal()) == (mode != "off")
    assert np.array_equal(found["off"], found["all"])
    assert np.array_equal(found["off"], found[MODES[1]])


def test_a_person_without_a_calibration_window_is_scaled_as_those_trained_on(crowd, sandbox, caplog):
    run = crowd(MODES[1], "person")
    aside = kept(run, "1")
    lost = (sandbox.trials["subject"] == "1") & sandbox.trials["trial"].isin(aside)
    sandbox.trials.loc[lost, "eeg"] = ""
    run = crowd(MODES[1], "person", "lost")
    rows = trained(run)
    assert any("mean statistics" in r.message and r.args[2] == "1" for r in caplog.records)
    people = read_people(run)
    assert "1" not in people.names
    assert torch.equal(people.places(["1", "stranger", "2"]), torch.tensor([3, 3, people.names.index("2")]))
    for value in people.values.values():
        mean = (value[people.names.index("3")] + value[people.names.index("4")]) / 2
        assert torch.allclose(value[3], mean)
    assert set(rows.loc["1"].index.get_level_values("trial")).isdisjoint(aside)
    sandbox.trials.loc[sandbox.trials["trial"].isin([t for s in "1234" for t in kept(run, s)]), "eeg"] = ""
    with fails(DataError, expected="trained on", found="none", remedy="protocol.subject_scaling=off"):
        train_run(crowd(MODES[1], "person", "none"))


def test_a_resumed_run_and_its_head_only_epochs_use_the_same_statistics(crowd, content, tmp_path, monkeypatch):
    monkeypatch.setattr("eavdash.training.stage1.is_pretrained", lambda context: True)
    whole = crowd(MODES[1], "person", "whole", "eeg", "train.eeg.head_epochs=1")
    train_run(whole)
    again = crowd(MODES[1], "person", "again", "eeg", "train.eeg.head_epochs=1")
    stops = iter([False] * 5 + [True] * 99)
    assert not train_run(again, should_stop=lambda: next(stops))
    train_run(again)
    assert content(again) == content(whole)
    assert again.people_file.read_bytes() == whole.people_file.read_bytes()


def test_a_damaged_file_of_statistics_is_named(crowd):
    run = crowd("all", "person")
    train_run(run)
    run.update(checksums=run.seal())
    run.people_file.write_bytes(run.people_file.read_bytes()[:-3])
    with fails(IntegrityError, where=run.people_file.name, remedy="eavdash retry"):
        read_people(run)
    run.update(checksums={})
    with fails(IntegrityError, where=run.people_file.name, remedy="eavdash retry"):
        read_people(run)
    run.update(checksums={run.people_file.name: "0"})
    run.people_file.unlink()
    with fails(IntegrityError, where=run.people_file.name):
        read_people(run)


def test_features_of_a_fusion_are_those_of_the_run_and_a_borrowed_window_keeps_its_person(crowd):
    run = crowd(MODES[1], "person")
    rows = trained(run)
    windows = read_windows(open_run_context(run, CPU), "eeg", run.config().input.channels)
    made = features(run, windows, CPU)
    probabilities = [c for c in rows if c.startswith("p_")]
    assert np.allclose(made.logits.double().softmax(1), rows[probabilities], atol=1e-6)
    some, model = torch.arange(40), load_encoder(run)
    known = WindowSource(windows, torch.zeros(len(rows)), CPU, False, read_people(run))
    cached, mask = known.frozen_features(model, some)  # of head-only epochs
    assert torch.allclose(model.forward_head(cached, mask).logits, made.logits[:40])
    unknown = WindowSource(windows, torch.zeros(len(rows)), CPU, False)
    assert not torch.allclose(unknown.output(model, some, None).logits, made.logits[:40])
    joined = join_features({"eeg": made})
    train = list(range(104, 208))
    labels = torch.zeros(len(joined.index), dtype=torch.int64)
    source = JointSource(FeatureSource(joined, labels, train, {"eeg": 0.9}, CPU), {"eeg": windows}, [], _numbered())
    random = torch.Generator().manual_seed(0)
    x, _, _, own, who = source.load(torch.nn.Identity(), torch.arange(52), random)
    assert 0 < own.sum() < 26
    by_window = {np.asarray(windows.values.values[r]).tobytes(): s for r, s in windows.index[["row", "subject"]].values}
    assert [by_window[one.numpy().tobytes()] for one in x] == [str(int(number)) for number in who]


def _numbered() -> dict[str, People]:
    """Statistics that are the people's numbers."""
    return {"eeg": of_people({s: {"number": torch.tensor(float(s))} for s in "1234"}, ["3"])}


def test_a_study_with_calibration_is_planned_scored_and_explained(tmp_path: Path) -> None:
    root = make_recordings(tmp_path / "data", subjects=3, groups=3)
    config = with_settings(
        replace(with_epochs(preset("quick"), 1), stages=("audio", "eeg", "fusion")),
        [*FAST, "protocol.name=loso", "protocol.subject_scaling=calibration:3", "eeg.encoder=person"],
    )
    config = replace(config, fusion=replace(config.fusion, joint_epochs=1, joint_learning_rate=1e-3))
    plan = prepare(root, "known", config, Selection(folds=(0,)), tmp_path / "c")
    assert any("9 of 27 trials" in note for note in plan.notes)
    for name in plan.runs:
        run = plan.study.run(name)
        train_run(run)
        run.transition("running")
        run.transition("done", checksums=run.seal())
    assert set(scores(plan.study)["n"]) == {6}
    trials = pd.read_csv(plan.study.splits_file, dtype=str)
    aside = trials[trials["split"] == "calibration"][["subject", "trial"]]
    assert sorted(set(aside["trial"])) == ["1", "2", "3"]
    for rows in (predictions(plan.study, split=None), predictions(plan.study, split=None, baselines=True)):
        assert not rows["trial"].isin(["1", "2", "3"]).any()
        assert set(rows["split"]) == {"train", "validation", "test"}
    made = explain_trial(plan.study, "1", "7", steps=4)
    assert made.run == "all-fusion"
    assert made.receipts.reproduction < 1e-5
    assert made.receipts.scaled_as_others == ()
    assert 1e-6 < np.abs(made.inputs["eeg"]).max() < 1e-2  # volt, as recorded
    assert np.abs(made.attributions["eeg"]).max() > 0
    with fails(UsageError, found="calibration", remedy="another trial"):
        explain_trial(plan.study, "1", "2", steps=4)
    alone = plan.study.run("all-eeg")
    stranger, known = (load_fused_model(plan.study, alone, subject=s) for s in ("stranger", "1"))
    assert all(torch.equal(v[0], read_people(alone).values[k][-1]) for k, v in stranger.people["eeg"].items())
    assert not torch.equal(stranger.people["eeg"]["shift"], known.people["eeg"]["shift"])
    assert load_fused_model(plan.study, alone).people == {}


def test_people_without_statistics_scale_nobody(sandbox, tiny_config):
    run = sandbox.study(tiny_config(1))("eeg")
    assert read_people(run) == People()
    assert People().keyword(()) == {}
    assert People().tensors(People().places(["1", "2"])) == ()
    People().save(run)
    assert not run.people_file.exists()
    assert ProtocolConfig().subject_scaling == "off"
