"""How long a map will take: by the last maps of the run, of its study, of studies alike, and by the training."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from fake_study import make_study
from linear_model import LENGTHS, SHAPES, TARGET, LinearEncoder, linear_model, window
from torch import Tensor

from eavdash.explain.estimate import CHECKED, CURVES, NOISY, SETS, MapEstimate, estimate
from eavdash.explain.method_registry import FORWARDS, METHODS
from eavdash.explain.receipts.curves import LEVELS, RANDOM_ORDERS, REPLACEMENTS
from eavdash.explain.receipts.infidelity import SETS_EACH
from eavdash.explain.receipts.of_trial import quickly
from eavdash.explain.receipts.question import MOST_WINDOWS, NOISY_COPIES
from eavdash.explain.training_windows import TrainingWindows
from eavdash.explain.window_method import WindowMethod
from eavdash.models.base import EncoderOutput
from eavdash.store import RunDir, StudyDir

METHOD = "expected_gradients"


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return make_study(tmp_path, "mine", subjects=("1", "2"))


def stored(run: RunDir, seconds: float, name: str = "1", method: str = METHOD, checked: bool = True) -> None:
    """Write the metadata of a map that took so long; each is newer than those before."""
    check = {"name": "completeness", "verdict": "pass", "reason": "ok"}
    receipts = {"steps": 32, "target": "Anger", "checksums": {}, "seconds": seconds}
    document = {
        **{"study": "mine", "run": run.name, "stage": run.config().stage, "method": method, "subject": "1"},
        **{"trial": name, "label": "Anger", "predicted": "Anger", "classes": ["Anger"], "modalities": ["eeg"]},
        **{"windows": [], "channels": [], "rate": 100.0, "arrays": ""},
        "receipts": {**receipts, "checks": [check] if checked else []},
    }
    run.explain_dir.mkdir(exist_ok=True)
    file = run.explain_dir / f"{name}.json"
    file.write_text(json.dumps(document))
    order = 1e9 + len(list(run.explain_dir.glob("*.json")))
    os.utime(file, (order, order))


def test_the_last_maps_of_the_run_come_first(study: StudyDir) -> None:
    run = study.run("s01-fusion")
    for number, seconds in enumerate((500.0, 10.0, 20.0, 30.0, 40.0, 50.0)):
        stored(run, seconds, str(number))
    stored(study.run("s02-fusion"), 900.0)
    found = estimate(study, run, METHOD)
    assert found == MapEstimate(30.0, "the last 5 such maps of this run")
    assert found.sentence() == "It takes about 30 s, by the last 5 such maps of this run."
    assert found.sentence(40) == "40 maps take about 20 min, by the last 5 such maps of this run."


def test_maps_of_another_method_or_without_checks_are_not_alike(study: StudyDir) -> None:
    run = study.run("s01-fusion")
    stored(run, 10.0, "1", "integrated_gradients")
    stored(run, 20.0, "2", checked=False)
    stored(study.run("s01-eeg"), 5.0, "3")
    assert estimate(study, run, METHOD, receipts=False).seconds == 20
    assert "this run" not in estimate(study, run, METHOD).basis
    assert "this study" not in estimate(study, run, METHOD).basis


def test_maps_of_attention_are_alike_although_they_are_never_checked(study: StudyDir) -> None:
    run = study.run("s01-fusion")
    stored(run, 10.0, "1", "attention_rollout", checked=False)
    for receipts in (True, False):
        found = estimate(study, run, "attention_rollout", receipts=receipts)
        assert found == MapEstimate(10.0, "the last such map of this run")


def test_then_other_runs_of_the_study_and_studies_with_the_same_encoders(study: StudyDir, tmp_path: Path) -> None:
    other = make_study(tmp_path, "other", subjects=("1",))
    stored(other.run("s01-fusion"), 70.0)
    assert estimate(study, study.run("s01-fusion"), METHOD).basis == (
        "the last such map of the study other, which has the same encoders"
    )
    stored(study.run("s02-fusion"), 60.0)
    assert estimate(study, study.run("s01-fusion"), METHOD) == MapEstimate(60.0, "the last such map of this study")


def test_then_the_time_of_training_and_else_it_is_unknown(study: StudyDir) -> None:
    run = study.run("s01-eeg")
    config = json.loads(run.config_file.read_text())
    config["input"] = {**config.get("input", {}), "windows": {"train": 256, "test": 20}}
    config["computed"] = {"device": "cpu", "precision": "float32"}
    run.config_file.write_text(json.dumps(config))
    rows = [{"epoch": n, "loss": 1.0, "accuracy": 0.5, "seconds": seconds} for n, seconds in enumerate((1, 2.56, 9))]
    run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    slow, fast = estimate(study, run, METHOD), estimate(study, run, METHOD, receipts=False)
    assert slow.seconds == pytest.approx(8 + 2 * (100 + 216 / 3 + 2 * 24) * 0.01)  # two windows of a trial
    assert fast.seconds == pytest.approx(8 + 2 * 100 * 0.01)
    quick = estimate(study, run, "saliency", receipts=False)
    assert quick.seconds == pytest.approx(8 + 2 * 0.01)
    assert estimate(study, run, "occlusion", receipts=False).seconds == pytest.approx(8 + 2 * 30 * 15 / 3 * 0.01)
    assert "training" in slow.basis
    assert estimate(study, run, METHOD, device="cuda").sentence().startswith("How long it takes is unknown")
    run.metrics_file.write_text("")
    assert estimate(study, run, METHOD).seconds is None


class Counted:
    """Passes through each encoder: a window forwards and backwards, or three forwards, count as one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: Counter[str] = Counter()
        plain = LinearEncoder.forward

        def counting(encoder: LinearEncoder, x: Tensor, mask: Tensor) -> EncoderOutput:
            modality = next(m for m, shape in SHAPES.items() if tuple(x.shape[1:]) == shape)
            self.passes[modality] += len(x) * (1 if torch.is_grad_enabled() else 1 / FORWARDS)
            return plain(encoder, x, mask)

        monkeypatch.setattr(LinearEncoder, "forward", counting)


@pytest.mark.parametrize(
    "name", ["integrated_gradients", "expected_gradients", "gradient_shap", "saliency", "occlusion"]
)
def test_a_method_takes_the_passes_that_the_registry_states(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = [window(n)[0] for n in range(11, 23)]
    masks = {m: torch.ones(12, length, dtype=torch.bool) for m, length in LENGTHS.items()}
    trained = TrainingWindows(tuple(map(str, range(12))), {m: torch.cat([d[m] for d in draws]) for m in SHAPES}, masks)
    kind = METHODS[name]
    drawn = tuple(SHAPES) if "training" in kind.baselines else ()
    # The more a model bends, the more points the sums need; none on a straight one.
    for bend in (0.0, 1.0):
        counted = Counted(monkeypatch)
        method = WindowMethod(linear_model(bend=bend), trained, drawn, name=name, rate=100.0)
        inputs, present = window(1)
        ends = (1 + len(method.baselines(inputs)["eeg"])) / FORWARDS  # the outputs at both ends, for completeness
        for again in (False, True):
            counted.passes.clear()
            (quickly(method, inputs) if again else method).attribute(inputs, present, TARGET)
            for modality, passes in counted.passes.items():
                stated = kind.cost(modality, 4, SHAPES["eeg"][0], again=again)
                least = 0.3 * stated if kind.complete and not again else stated
                assert least <= passes <= stated + ends + 1, (modality, again, stated)
        monkeypatch.undo()


def test_the_checks_take_the_passes_that_the_estimate_counts() -> None:
    assert len(REPLACEMENTS) * (2 + RANDOM_ORDERS) * len(LEVELS) == CURVES
    assert SETS == 12 * SETS_EACH
    assert (NOISY, CHECKED) == (NOISY_COPIES, MOST_WINDOWS)
