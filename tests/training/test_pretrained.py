"""Training from a Hugging Face checkpoint: its sizes, its weights, and head-only epochs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from failing import fails
from safetensors.torch import load_file

from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.models import build
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context
from eavdash.training.stage1 import new_encoder

transformers = pytest.importorskip("transformers")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Checkpoint of a ViT whose sizes differ from the configuration, with a classifier for seven classes."""
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    config = transformers.ViTConfig(**sizes, image_size=16, patch_size=8, num_labels=7)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "published")
    return tmp_path / "published"


def fine_tuning(config: StudyConfig, path: Path, epochs: int, head_epochs: int) -> StudyConfig:
    train = replace(config.train.vision, epochs=epochs, head_epochs=head_epochs)
    vision = replace(config.vision, weights=str(path))
    return replace(config, vision=vision, train=replace(config.train, vision=train))


@pytest.mark.parametrize(("epochs", "head_epochs", "frozen"), [(2, 2, True), (2, 1, False)])
def test_the_head_is_trained_alone_first(sandbox, tiny_config, checkpoint, epochs, head_epochs, frozen):
    run = sandbox.study(fine_tuning(tiny_config(), checkpoint, epochs, head_epochs))("vision")
    train_run(run)
    spec = run.config().architecture
    assert (spec["kwargs"]["width"], spec["kwargs"]["depth"], spec["kwargs"]["mlp_ratio"]) == (24, 2, 2.0)
    model = build.load_weights(build.build(spec), run.model_file)
    published = transformers.ViTForImageClassification.from_pretrained(checkpoint).vit.embeddings
    ours = model.get_parameter("vit.patch_embed.proj.weight")
    # The first epoch may be the one kept: only weights that were never trained must be equal.
    same = torch.equal(ours, published.patch_embeddings.projection.weight)
    assert same if frozen else same == (run.status().best_epoch <= head_epochs)
    assert model.get_parameter("head.weight").shape == (3, 24)


def test_images_of_another_size_are_refused(sandbox, tiny_config, checkpoint):
    config = fine_tuning(tiny_config(), checkpoint, 1, 0)
    config = replace(config, vision=replace(config.vision, size=32))
    with fails(ConfigError, where="vision.size", expected="16", found="32", remedy="vision.size=16"):
        build.encoder_spec("vision", config, 3, {"frames": 3, "size": 32})


def test_an_eeg_encoder_starts_only_from_the_same_encoder(sandbox, tiny_config):
    first = sandbox.study(tiny_config(1), "first")("eeg")
    train_run(first)
    config = with_settings(tiny_config(1), [f"eeg.weights={first.model_file}"])
    started = open_run_context(sandbox.study(config, "second")("eeg"), torch.device("cpu"))
    spec = first.config().architecture
    kept, found = load_file(first.model_file), new_encoder(started, spec).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in kept.items())
    with fails(ConfigError, where=str(first.model_file), found=("unused", "more")):
        train_run(sandbox.study(with_settings(config, ["eeg.encoder=yin"]), "third")("eeg"))
