"""Benefit of the fusion: over several seeds of the demo it beats every single modality and gives noise less attention.

The encoders are drawn from the demo's plan (simulated_encoders.py); the fusion is trained by stage 2 itself. Two
deliberately broken fusions show that the criteria are not met by chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import simulated_encoders as simulated
import torch
from torch import Tensor, nn

from eavdash.config import schema as cfg
from eavdash.models.attention_fusion import AttentionFusion
from eavdash.models.seeds import generator, reproducible
from eavdash.training import evaluate, stage2
from eavdash.training.features import Features

pytestmark = pytest.mark.slow
SEEDS = (20, 21, 22)  # not used in the design of the fusion
EPOCHS = 12
#: Required gain in accuracy per window over each subject's best single modality, chosen on the same test windows.
GAIN = 0.03
#: Required drop of a modality's share in subjects for whom it is noise.
SHARE_DROP = 0.15
Features_ = dict[str, Features]


def unchanged(features: Features_) -> Features_:
    return features


def shuffled(features: Features_) -> Features_:
    """Shuffle the features of the training and of the validation windows."""
    out = {}
    for name, part in features.items():
        rows = torch.arange(len(part.index))
        for number, split in enumerate(("train", "validation")):
            own = torch.as_tensor((part.index["split"] == split).to_numpy(copy=True)).nonzero()[:, 0]
            rows[own] = own[torch.randperm(len(own), generator=generator(number))]
        out[name] = replace(part, tokens=part.tokens[rows], logits=part.logits[rows])
    return out


class ConstantKey(nn.Linear):
    """A key that is the same for every token, so that attention carries no information."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.zeros_like(super().forward(input))


def evaluate_fusions(
    folder: Path,
    patch: pytest.MonkeyPatch,
    seeds: tuple[int, ...],
    spoil: Callable[[Features_], Features_],
    kind: str = "attention",
) -> pd.DataFrame:
    """Return one row per seed and subject: accuracies per test window, the noise modality and the shares."""
    patch.setattr(stage2, "features", lambda run, windows, device, execution: windows)
    # The trained baselines are not needed here, and would take most of the time.
    patch.setattr(
        stage2,
        "_trained",
        lambda context, kind, source, train: evaluate.Predictions(source.joined.logits["eeg"].softmax(1).numpy()),
    )
    rows = []
    for seed in seeds:
        for number in (1, 2, 3):
            made = simulated.subject(seed, number)
            given = spoil(made.features)
            patch.setattr(stage2, "windows_of_parents", lambda context, given=given: (given, []))
            context = simulated.context(folder / f"{seed}-{number}", seed, made, cfg.FusionConfig(kind=kind), EPOCHS)
            with reproducible(torch.device("cpu"), 1):
                stage2.train_fusion(context)
            fused = pd.read_parquet(context.run.predictions_file)
            beside = pd.read_parquet(context.run.baselines_file)
            every = pd.concat(
                [fused.assign(stage="fusion"), beside, *[t.assign(stage=m) for m, t in made.predictions.items()]]
            )
            tested = every[every["split"] == "test"]
            right = (tested["predicted"] == tested["label"]).groupby(tested["stage"]).mean()
            shares = {m: fused.loc[fused["split"] == "test", f"attention_{m}"].mean() for m in simulated.MODALITIES}
            single = right[list(simulated.MODALITIES)].max()
            rows.append({"noise": made.noise, "single": single, **right[["fusion", "fusion:mean"]], **shares})
    return pd.DataFrame(rows)


def failed_criteria(found: pd.DataFrame) -> list[str]:
    """Return the criteria that a fusion fails."""
    failed = []
    gain = float((found["fusion"] - found["single"]).mean())
    if gain < GAIN:
        failed.append(f"accuracy: {100 * gain:+.1f} points against the best single modality")
    for modality in simulated.MODALITIES:
        shares = found.groupby(found["noise"] == modality)[modality].mean()
        if shares[False] - shares[True] < SHARE_DROP:
            failed.append(f"attention: {modality} {shares[True]:.2f} where it is noise, {shares[False]:.2f} elsewhere")
    return failed


def test_the_fusion_beats_the_best_modality_and_attends_less_to_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = evaluate_fusions(tmp_path, monkeypatch, SEEDS, unchanged)
    assert failed_criteria(found) == [], found.round(3).to_string()
    noise = found.apply(lambda row: row[row["noise"]] == min(row[m] for m in simulated.MODALITIES), axis=1)
    assert noise.all(), found.round(3).to_string()


def test_uniform_attention_fails_the_criteria(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = stage2.build.build

    def broken(spec):
        model = build(spec)
        assert isinstance(model, AttentionFusion)
        model.key = ConstantKey(model.key.in_features, model.key.out_features)
        return model

    monkeypatch.setattr(stage2.build, "build", broken)
    found = evaluate_fusions(tmp_path, monkeypatch, SEEDS[:1], unchanged)
    failed = failed_criteria(found)
    assert len(failed) == 4, found.round(3).to_string()  # accuracy, and every modality's share
    assert found["fusion"].to_numpy() == pytest.approx(found["fusion:mean"].to_numpy(), abs=0.01)


def test_a_fusion_of_shuffled_features_fails_the_criteria(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluate_fusions(tmp_path, monkeypatch, SEEDS[:1], shuffled)
    failed = failed_criteria(found)
    assert any(s.startswith("accuracy") for s in failed), found.round(3).to_string()
    assert any(s.startswith("attention") for s in failed), found.round(3).to_string()
