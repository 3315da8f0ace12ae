"""Encoders of sound with several tokens a window, from training to fusion and explanation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recordings import FAST, make_recordings

from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.explain.trial import explain_trial
from eavdash.studies.write import prepare
from eavdash.training.run import train_run

transformers = pytest.importorskip("transformers")


def test_a_wave_model_is_fine_tuned_fused_and_explained(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"conv_dim": [8, 8], "conv_kernel": [20, 16], "conv_stride": [10, 16], "num_feat_extract_layers": 2}
    sizes |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    transformers.WavLMModel(transformers.WavLMConfig(**sizes)).save_pretrained(tmp_path / "wavlm")
    settings = ("stages=audio,eeg,fusion", "audio.encoder=wav2vec2", f"audio.weights={tmp_path / 'wavlm'}", "window=2")
    config = with_epochs(with_settings(preset("quick"), (*FAST, *settings)), 2)
    plan = prepare(make_recordings(tmp_path / "data", subjects=1), "w", config, Selection(folds=(0,)), tmp_path / "c")
    for name in plan.runs:
        run = plan.study.run(name)
        run.transition("running")
        assert train_run(run)
        run.transition("done", checksums=run.seal())
    dims = plan.study.run("s01-fusion").config().input.dims
    assert dims is not None
    assert dims["audio"] == 2 * 16
    frame = pd.read_parquet(plan.study.run("s01-audio").predictions_file)
    trial = frame.loc[frame["split"] == "test", "trial"].iloc[0]
    made = explain_trial(plan.study, "1", trial, method="integrated_gradients", steps=8)
    assert made.front_end == "wave"
    assert made.attributions["audio"].shape == made.inputs["audio"].shape
    assert made.inputs["audio"].shape[2] == 1
    assert np.abs(made.attributions["audio"]).sum() > 0
    assert "noise" in made.receipts.baselines["audio"]
    assert made.receipts.reproduction is not None
    assert made.receipts.reproduction < 1e-3
