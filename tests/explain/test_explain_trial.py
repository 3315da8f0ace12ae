"""Explanation of a trial from its recordings by trained runs; storing it, and loading it without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from fake_study import make_study
from recordings import LABELS, make_recordings
from safetensors.torch import load_file
from trained import train

from eavdash.config.choices import MODALITIES
from eavdash.data.audio.front_ends import voice_hertz
from eavdash.errors import IntegrityError, UsageError
from eavdash.explain import compute, recordings
from eavdash.explain.choose import testing_run as run_testing
from eavdash.explain.explanation import Explanation, load_explanation, stored_explanations
from eavdash.explain.method_registry import METHODS
from eavdash.explain.planted_points import PlantedPoints
from eavdash.explain.question import METHOD, Question
from eavdash.explain.trial import explain_trial, find_explanation
from eavdash.explain.truth import Truth
from eavdash.models.packaged import voice_weights
from eavdash.models.tensorfiles import read_tensors
from eavdash.store import RunDir, StudyDir

WITHOUT_AUDIO = "1"  # a trial without audio


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    folder = tmp_path_factory.mktemp("explain")
    table = make_recordings(folder / "data", subjects=1)
    frame = pd.read_csv(table)
    frame.loc[frame["trial"].astype(str) == WITHOUT_AUDIO, "audio"] = ""
    frame.to_csv(table, index=False)
    return train(table, "small", folder / "checkpoints")


def trials_tested(study: StudyDir) -> list[str]:
    return trials_tested_by(study.run("s01-fusion"))


def trials_tested_by(run: RunDir) -> list[str]:
    return trials_of(run, "test")


def trials_of(run: RunDir, split: str) -> list[str]:
    frame = pd.read_parquet(run.predictions_file)
    return list(dict.fromkeys(frame.loc[frame["split"] == split, "trial"]))


@pytest.fixture(scope="module")
def explanation(study: StudyDir) -> Explanation:
    return explain_trial(study, "1", next(t for t in trials_tested(study) if t != WITHOUT_AUDIO))


def test_an_explanation_is_complete(explanation: Explanation) -> None:
    assert explanation.stage == "fusion"
    assert explanation.classes == LABELS
    assert explanation.modalities == MODALITIES
    assert [(w.window, w.start, w.stop) for w in explanation.windows] == [(0, 0.0, 1.0), (1, 1.0, 2.0)]
    assert explanation.inputs["vision"].shape == (2, 1, 32, 32, 3)
    assert explanation.attributions["vision"].shape == (2, 1, 32, 32)
    for modality in ("audio", "eeg"):
        assert explanation.attributions[modality].shape == explanation.inputs[modality].shape
        assert np.abs(explanation.attributions[modality]).max() > 0
    assert len(explanation.channels) == explanation.inputs["eeg"].shape[1] == 30
    assert explanation.spectrum is not None
    assert explanation.spectrum.shape == (2, 30, 51)  # one second at 100 Hz
    assert explanation.spectrum.sum(axis=2) == pytest.approx(explanation.attributions["eeg"].sum(axis=2), abs=1e-5)
    assert explanation.rate == 100
    assert explanation.attention is not None
    assert explanation.attention.sum(-1) == pytest.approx(1, abs=1e-5)
    assert sum(explanation.shares.values()) == pytest.approx(1, abs=1e-5)
    assert explanation.map is not None
    assert explanation.map.sum(-1) == pytest.approx(1, abs=1e-5)
    assert explanation.maps is not None
    assert explanation.maps.shape == (2, 1, 4, 3, 3)  # window, layer, head, and from modality to modality
    assert explanation.maps.mean((1, 2)) == pytest.approx(explanation.map, abs=1e-6)
    summary = explanation.summary()
    assert list(summary["attention_by_head"]) == [f"head {h}" for h in (1, 2, 3, 4)]
    assert list(summary["attention_by_layer"]) == [f"layer 1 head {h}" for h in (1, 2, 3, 4)]
    for table in summary["attention_by_layer"].values():
        assert [sum(row.values()) for row in table.values()] == pytest.approx([1, 1, 1], abs=1e-5)


def test_probabilities_equal_the_tested_ones(study: StudyDir, explanation: Explanation) -> None:
    assert explanation.receipts.reproduction < 1e-5
    assert set(explanation.trial_probabilities) == {"vision", "audio", "eeg", "fusion"}
    for stage, windows in explanation.window_probabilities.items():
        frame = pd.read_parquet(study.run(f"s01-{stage}").predictions_file)
        rows = frame[(frame["trial"] == explanation.trial) & (frame["frame"] == -1)].sort_values("window")
        assert windows == pytest.approx(rows[[f"p_{c}" for c in LABELS]].to_numpy(), abs=1e-5)


def test_receipts_hold_the_completeness_of_the_attributions(study: StudyDir, explanation: Explanation) -> None:
    trained = trials_of(study.run("s01-fusion"), "train")
    assert len(explanation.receipts.training_windows) == 12
    assert {name.split("/")[0] for name in explanation.receipts.training_windows} == {"1"}
    assert {name.split("/")[1] for name in explanation.receipts.training_windows} <= set(trained)
    assert explanation.receipts.baselines["vision"] == "windows that the run was trained on"
    assert "each channel's mean" in explanation.receipts.baselines["eeg"]
    for number, receipt in enumerate(explanation.receipts.completeness):
        total = sum(float(a[number].astype(np.float64).sum()) for a in explanation.attributions.values())
        assert receipt["total"] == pytest.approx(total, abs=1e-3)
        assert receipt["gap"] == pytest.approx(abs(total - receipt["output"] + receipt["baseline"]), abs=1e-3)
        assert receipt["explained"] == abs(receipt["output"] - receipt["baseline"])
        assert receipt["gap"] < max(0.05, 0.05 * receipt["explained"])
    assert explanation.receipts.target == explanation.target == explanation.predicted
    assert (explanation.method, explanation.baseline) == ("expected_gradients", "mixed")
    assert explanation.unit == "logit"
    for stage, rows in explanation.baseline_probabilities.items():
        assert rows.shape == (2, len(LABELS)), stage
        assert rows.sum(axis=1) == pytest.approx(1)


def test_it_is_stored_and_loaded_without_torch(study: StudyDir, explanation: Explanation) -> None:
    run = study.run(explanation.run)
    found = load_explanation(run, explanation.trial, *explanation.stored)
    assert found is not None
    assert stored_explanations(run, explanation.trial) == [explanation.stored]
    assert find_explanation(study, "1", explanation.trial) is not None
    assert find_explanation(study, "1", explanation.trial, against="runner-up") is None
    for name, value in vars(explanation).items():
        again = getattr(found, name)
        if isinstance(value, dict) and any(isinstance(v, np.ndarray) for v in value.values()):
            assert all(np.array_equal(again[k], v, equal_nan=True) for k, v in value.items()), name
        elif isinstance(value, np.ndarray):
            assert np.array_equal(again, value)
        else:
            assert again == value, name
    assert found.summary() == explanation.summary()
    code = (
        "import sys; from pathlib import Path; from eavdash.store import RunDir;"
        "from eavdash.explain.explanation import load_explanation;"
        f"run, asked = RunDir(Path({str(run.path)!r})), {tuple(explanation.stored)!r};"
        f"assert load_explanation(run, {explanation.trial!r}, *asked).attributions;"
        "assert not {'torch', 'captum', 'mne', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_computing_again_gives_the_same_bits_whatever_the_callers_threads(
    study: StudyDir, explanation: Explanation
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        again = explain_trial(study, "1", explanation.trial)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert not torch.are_deterministic_algorithms_enabled()
    assert again.receipts.replace(seconds=0.0) == explanation.receipts.replace(seconds=0.0)
    assert all(np.array_equal(again.attributions[m], a) for m, a in explanation.attributions.items())


def test_axes_are_those_of_the_recordings(explanation: Explanation) -> None:
    assert explanation.times["eeg"][1] == pytest.approx(1 + np.arange(100) / 100)
    assert explanation.times["audio"][0][:3] == pytest.approx([0, 0.01, 0.02])
    assert explanation.times["vision"] == pytest.approx(np.array([[0.5], [1.5]]))
    hertz = explanation.frequencies["audio"]
    assert len(hertz) == explanation.inputs["audio"].shape[2]
    assert 20 < hertz[0] < hertz[-1] < 8000
    assert list(explanation.frequencies) == ["audio"]


def test_another_class_and_a_contrast_are_other_explanations(study: StudyDir, explanation: Explanation) -> None:
    trial, plain = explanation.trial, {"method": "integrated_gradients", "steps": 4}
    by_class = {name: explain_trial(study, "1", trial, target=name, **plain) for name in LABELS}
    ranked = sorted(LABELS, key=lambda name: -explanation.trial_probabilities["fusion"][LABELS.index(name)])
    contrast = explain_trial(study, "1", trial, against="runner-up", **plain)
    assert (contrast.target, contrast.against) == tuple(ranked[:2])
    assert contrast.unit == "difference of logits"
    for modality, found in contrast.attributions.items():
        first, second = (by_class[name].attributions[modality] for name in ranked[:2])
        assert found == pytest.approx(first - second, abs=1e-5)
        assert np.abs(first - second).max() > 1e-3, "a wrong class would be seen"
    logs = np.log(contrast.window_probabilities["fusion"])
    places = [LABELS.index(name) for name in ranked[:2]]
    for row, receipt in zip(logs, contrast.receipts.completeness, strict=True):
        assert receipt["output"] == pytest.approx(row[places[0]] - row[places[1]], abs=1e-4)
    assert len(stored_explanations(study.run("s01-fusion"), trial)) == len(LABELS) + 2
    with fails(UsageError, where="target", expected=LABELS[0], found="'Nobody'"):
        explain_trial(study, "1", trial, target="Nobody", **plain)
    with fails(UsageError, where=f"trial {trial}", expected=ranked[0], found=ranked[0]):
        explain_trial(study, "1", trial, against=ranked[0], **plain)


def test_the_true_class_is_that_of_the_trial(study: StudyDir) -> None:
    run = study.run("s01-fusion")
    for trial in trials_tested(study):
        asked = Question(target="true").of(run, "1", trial)
        rows = pd.read_parquet(run.predictions_file).query("trial == @trial")
        assert asked == ("expected_gradients", rows["label"].iloc[0], "", "mixed")


def test_a_modality_alone_is_explained_by_its_own_run(study: StudyDir, explanation: Explanation) -> None:
    found = {m: explain_trial(study, "1", explanation.trial, stage=m) for m in MODALITIES}
    for modality, made in found.items():
        assert (made.stage, made.run, made.modalities) == (modality, f"s01-{modality}", (modality,))
        assert set(made.attributions) == {modality}
        assert made.unit == ("mean log-probability of the frames" if modality == "vision" else "logit")
        assert made.receipts.completeness[0]["gap"] < max(0.05, 0.05 * made.receipts.completeness[0]["explained"])
        assert made.trial_probabilities[modality] == pytest.approx(explanation.trial_probabilities[modality], abs=1e-6)
    assert found["eeg"].receipts.training_windows == ()  # mixed takes the mean for it
    assert found["audio"].receipts.training_windows != ()
    with fails(UsageError, where="stage", expected="fusion", found="'touch'"):
        explain_trial(study, "1", explanation.trial, stage="touch")


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("integrated_gradients", METHOD)])
def test_every_other_method_is_computed_stored_and_opened(
    study: StudyDir, explanation: Explanation, method: str
) -> None:
    kind = METHODS[method]
    made = explain_trial(study, "1", explanation.trial, method=method, receipts=method == "saliency")
    found = find_explanation(study, "1", explanation.trial, method=method)
    assert found is not None
    assert found.stored == made.stored
    assert found.baseline == (kind.baselines or ("none",))[0]
    assert all(np.array_equal(found.attributions[m], a) for m, a in made.attributions.items())
    assert all(a.shape == explanation.attributions[m].shape for m, a in made.attributions.items())
    assert set(made.attributions) == set(kind.reads or MODALITIES)
    assert bool(found.receipts.completeness) == bool(found.receipts.baselines) == bool(kind.baselines)
    assert bool(found.baseline_probabilities) == bool(kind.baselines)
    assert kind.baselines or found.nothing_to_explain == (False, False)
    assert found.summary()["steps"] == 0
    if kind.baselines:
        assert explanation.spectrum is not None
        assert found.spectrum is not None
        assert found.spectrum.shape == explanation.spectrum.shape
    else:
        assert found.spectrum is None
        assert min(a.min() for a in found.attributions.values()) >= 0
    if not kind.attribution:
        assert found.unit == "share of attention"
        assert list(found.sums.values()) == pytest.approx([1] * len(found.sums), abs=0.05)  # edges have no patch
    if method == "saliency":
        names = [check.name for check in found.receipts.checks]
        assert names == ["deletion", "insertion", "stability", "sensitivity"]


def test_maps_that_are_not_checked_read_no_training_windows(
    study: StudyDir, explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "training_windows", lambda *_: pytest.fail("read for checks that are not made"))
    made = explain_trial(study, "1", explanation.trial, method="electrode_attention")
    assert made.receipts.checks == ()


def test_a_method_that_cannot_read_the_encoder_is_refused(study: StudyDir, explanation: Explanation) -> None:
    with fails(UsageError, where="method", found="this decision has eeg eegformer", remedy="choose another method"):
        explain_trial(study, "1", explanation.trial, method="attention_rollout", stage="eeg")


def test_the_places_of_pictures_are_read_from_the_file_and_found_again_for_earlier_ones(
    study: StudyDir, explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = PlantedPoints(study, Truth({}, {}))
    again = points._crops(replace(explanation, crops=None))
    monkeypatch.setattr(recordings, "crop_boxes", lambda *_: pytest.fail("the video is read once more"))
    stored = points._crops(explanation)
    assert np.isfinite(stored).any()
    assert stored == pytest.approx(again, abs=1e-6, nan_ok=True)


def test_training_windows_are_read_alone_where_the_cache_was_cleared(study: StudyDir, explanation: Explanation) -> None:
    shutil.rmtree(study.cache_dir / "windows")
    again = explain_trial(study, "1", explanation.trial)
    assert again.receipts.training_windows == explanation.receipts.training_windows
    assert all(np.array_equal(again.attributions[m], a) for m, a in explanation.attributions.items())


def test_a_trial_without_audio_is_explained_by_the_other_modalities(study: StudyDir) -> None:
    assert WITHOUT_AUDIO in trials_tested(study)
    explanation = explain_trial(study, "1", WITHOUT_AUDIO)
    assert set(explanation.attributions) == {"vision", "eeg"}
    assert explanation.shares["audio"] == 0
    assert sum(explanation.shares.values()) == pytest.approx(1, abs=1e-5)
    assert explanation.windows[0].modalities == ("vision", "eeg")
    assert set(explanation.times) == {"vision", "eeg"}


def test_only_a_run_that_tested_the_trial_explains_it(study: StudyDir) -> None:
    frame = pd.read_parquet(study.run("s01-fusion").predictions_file)
    trained = frame.loc[frame["split"] == "train", "trial"].iloc[0]
    with fails(UsageError, where=f"trial {trained}", found=("train", "s01-fusion")):
        explain_trial(study, "1", trained)
    with fails(UsageError, expected="fold 3", found=("finished runs", "s01-")):
        explain_trial(study, "1", trials_tested(study)[0], fold=3)
    with fails(UsageError, where="trial 999", found="s01-fusion"):
        explain_trial(study, "1", "999")
    with fails(UsageError, where="method", expected="integrated_gradients", found="'guessing'"):
        explain_trial(study, "1", trials_tested(study)[0], method="guessing")


def test_an_unreadable_run_is_skipped(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",))
    assert run_testing(study, "1", "2", None, None).name == "s01-fusion"
    study.run("s01-fusion").config_file.write_text("{")
    study.run("s01-vision").status_file.write_text("{")
    assert run_testing(study, "1", "2", None, None).name == "s01-audio"


def test_damage_and_new_weights_are_detected(study: StudyDir) -> None:
    trial = trials_tested(study)[-1]
    explanation = explain_trial(study, "1", trial, steps=2)
    run, asked = study.run(explanation.run), explanation.stored
    arrays, _ = run.explain_files(trial, *asked)
    content = arrays.read_bytes()
    arrays.write_bytes(content[:-100])
    with fails(IntegrityError, where=str(arrays), expected=("checksum", ".json")):
        load_explanation(run, trial, *asked)
    arrays.write_bytes(content)
    assert load_explanation(run, trial, *asked) is not None
    parent = study.run("s01-eeg")
    before = parent.status().checksums
    parent.update(checksums={**before, "model.safetensors": "trained again"})
    try:
        assert load_explanation(run, trial, *asked) is None
    finally:
        parent.update(checksums=before)
    assert load_explanation(run, "nothing") is None


def test_without_fusion_the_single_modality_is_explained(tmp_path: Path) -> None:
    table = make_recordings(tmp_path / "data", subjects=1)
    study = train(table, "sound", tmp_path / "checkpoints", ("stages=audio",))
    frame = pd.read_parquet(study.run("s01-audio").predictions_file)
    explanation = explain_trial(study, "1", frame.loc[frame["split"] == "test", "trial"].iloc[0], baseline="training")
    assert explanation.stage == "audio"
    assert explanation.attention is None
    assert explanation.shares == {}
    assert set(explanation.attributions) == set(explanation.trial_probabilities) == {"audio"}
    assert explanation.receipts.completeness[0]["gap"] < 0.1


def test_voices_are_trained_frozen_and_explained_in_hertz(tmp_path: Path) -> None:
    table = make_recordings(tmp_path / "data", subjects=1)
    settings = ("stages=audio", "audio.encoder=voice", "train.audio.head_epochs=2")
    study = train(table, "voice", tmp_path / "checkpoints", settings)
    run = study.run("s01-audio")
    kept, published = load_file(run.model_file), read_tensors(voice_weights())[1]
    assert all(torch.equal(kept[n], t) for n, t in published.items() if n.startswith("lstm."))
    assert kept["feature_scale"].unique().numel() > 100
    made = explain_trial(study, "1", trials_tested_by(run)[0], method="integrated_gradients", steps=8)
    assert made.front_end == "voice"
    assert made.attributions["audio"].shape[1:] == (101, 40)
    assert "mean spectrum" in made.receipts.baselines["audio"]
    assert made.receipts.reproduction is not None
    assert made.receipts.reproduction < 1e-4
    assert made.frequencies["audio"] == pytest.approx(voice_hertz())
    stored = load_explanation(run, made.trial, *made.stored)
    assert stored is not None
    assert stored.front_end == "voice"
