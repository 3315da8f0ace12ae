"""Encoders that do not fit their checkpoint or windows are found while planning, and short trials are remarked."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from made_media import fif
from recordings import make_recordings
from safetensors.torch import save_file
from short_sounds import AUDIO, table

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import ConfigError, EavdashError
from eavdash.models import build
from eavdash.store.readable import set_data_folders
from eavdash.studies.plan import Plan, plan

STAGES = {stage: replace(preset("quick"), stages=(stage,)) for stage in ("vision", "audio", "eeg")}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects with all three modalities."""
    return make_recordings(tmp_path_factory.mktemp("data"))


def planned(root: Path, config: StudyConfig, folder: Path) -> Plan:
    return plan(root, "pilot", config, Selection(), folder / "c")


def saved(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """Write tensors in the format of the file's suffix."""
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=path.suffix != ".bin")
    return path


def eeg_weights(path: Path, classes: int, channels: int) -> Path:
    shape = {"channels": ["x"] * channels, "samples": 500}
    return saved(path, build.build(build.encoder_spec("eeg", STAGES["eeg"], classes, shape)).state_dict())


@pytest.mark.parametrize("name", ["model.safetensors", "weights.pt", "weights.bin"])
@pytest.mark.parametrize("stage", ["vision", "audio", "eeg"])
def test_a_foreign_checkpoint_is_refused(dataset: Path, tmp_path: Path, stage: str, name: str) -> None:
    file = saved(tmp_path / name, {"fc.weight": torch.zeros(2, 2)})
    config = with_settings(STAGES[stage], [f"{stage}.weights={file}"])
    with fails(ConfigError, where=str(file), found="fc.weight" if stage == "eeg" else "embeddings"):
        planned(dataset, config, tmp_path)
    assert not (tmp_path / "c").exists()


def test_only_headers_are_read(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = eeg_weights(tmp_path / "model.safetensors", 3, 30)
    config = with_settings(STAGES["eeg"], [f"eeg.weights={file}"])
    monkeypatch.setattr(torch, "isfinite", lambda _: pytest.fail("values were read"))
    made = planned(dataset, config, tmp_path)
    assert made.runs
    assert not [note for note in made.notes if "fit" in note]


@pytest.mark.parametrize(
    ("stage", "settings", "facts"),
    [
        ("audio", ["audio.frames=8"], {"where": "audio.frames", "found": "8"}),
        ("eeg", ["window=0.5"], {"where": "EEG window", "found": "50"}),
        ("eeg", ["eeg.channels=Foo"], {"expected": "Foo", "remedy": "eeg.channels"}),
        ("eeg", ["eeg.reference=M1"], {"expected": "M1", "remedy": "eeg.reference"}),
        ("vision", ["vision.encoder=timm:deit_tiny_patch16_224", "vision.size=33"], {"where": "vision.size"}),
    ],
)
def test_settings_that_no_recording_fits_are_refused(
    dataset: Path, tmp_path: Path, stage: str, settings: list[str], facts: dict[str, str]
) -> None:
    with fails(EavdashError, **facts):
        planned(dataset, with_settings(STAGES[stage], settings), tmp_path)


def test_weights_that_fit_some_subjects_are_noted_for_the_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["Fz", "Cz", "Pz", "Oz"]
    rows = []
    for subject, channels in ((1, names), (2, names[:3])):
        for n in range(6):
            fif(tmp_path / f"{subject}-{n}.fif", rng.normal(0, 1e-5, (len(channels), 1500)), channels)
            trial = {"subject": subject, "trial": n, "label": "ab"[n % 2], "group": n // 2}
            rows.append({**trial, "eeg": f"{subject}-{n}.fif"})
    pd.DataFrame(rows).to_csv(tmp_path / "trials.csv", index=False)
    file = eeg_weights(tmp_path / "eeg.safetensors", 2, 4)
    made = planned(tmp_path, with_settings(STAGES["eeg"], [f"eeg.weights={file}"]), tmp_path)
    notes = [note for note in made.notes if "does not fit" in note]
    assert len(notes) == 1
    assert "subject 2" in notes[0]
    assert str(file) in notes[0]


def test_a_linear_fit_needs_an_encoder_that_ends_with_a_linear_layer(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_settings(STAGES["audio"], ["train.audio.fit=linear"])
    assert planned(dataset, config, tmp_path).document.config["train"]["audio"]["fit"] == "linear"
    assert planned(dataset, STAGES["audio"], tmp_path).document.config["train"]["audio"]["fit"] == "gradient"
    convolution = torch.nn.Conv1d(4, 2, 1)
    monkeypatch.setattr(build, "build", lambda spec: type("Made", (), {"head": convolution})())
    with fails(ConfigError, where="train.audio.fit", expected="gradient", found="linear"):
        planned(dataset, config, tmp_path)


def test_tangent_is_fitted_linearly_unless_asked_otherwise(dataset: Path, tmp_path: Path) -> None:
    def fit(*settings: str) -> str:
        config = with_settings(STAGES["eeg"], ["eeg.encoder=tangent", *settings])
        return str(planned(dataset, config, tmp_path).document.config["train"]["eeg"]["fit"])

    assert fit() == "linear"
    assert fit("train.eeg.fit=gradient") == "gradient"
    assert fit("protocol.pooled=true") == "gradient"  # each subject's encoder is trained further


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ("window=0.5", "EEG window"),
        ("eeg.low=44.5", "eeg.low"),
        ("eeg.rate=2.5", "eeg.low"),
        ("eeg.channels=Fz", "eeg."),
    ],
)
def test_windows_that_tangent_cannot_read_are_refused(dataset: Path, tmp_path: Path, setting: str, where: str) -> None:
    config = with_settings(STAGES["eeg"], ["eeg.encoder=tangent", setting])
    with fails(ConfigError, where=where):
        planned(dataset, config, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CBraMod", "InterpolatedLaBraM"])
def test_published_eeg_weights_are_checked_while_planning(dataset: Path, tmp_path: Path, name: str) -> None:
    models = pytest.importorskip("braindecode.models")
    small = {"n_layer": 1} if name == "CBraMod" else {"num_layers": 1}
    electrodes = [
        {"ch_name": n, "kind": "eeg", "loc": [0.01 * i, 0.02, 0.09]} for i, n in enumerate(("Fp1", "F3", "Cz"))
    ]
    with warnings.catch_warnings(action="ignore"):
        theirs = getattr(models, name.replace("InterpolatedLaBraM", "Labram"))(
            n_chans=3, n_times=1000, sfreq=200, n_outputs=2, chs_info=electrodes, **small
        )
    folder = tmp_path / "weights"
    folder.mkdir()
    saved(folder / "weights.pth", theirs.state_dict())
    (folder / "config.json").write_text(json.dumps(theirs.get_config()))
    chosen = [f"eeg.encoder=braindecode:{name}", f"eeg.weights={folder}"]
    with fails(ConfigError, where="eeg.rate", found="100", remedy="set eeg.rate=200"):
        planned(dataset, with_settings(STAGES["eeg"], chosen), tmp_path)
    fitting = with_settings(STAGES["eeg"], [*chosen, "eeg.rate=200"])
    assert planned(dataset, fitting, tmp_path).runs
    saved(
        folder / "weights.pth",
        {n: t for n, t in theirs.state_dict().items() if "blocks" not in n and "layers" not in n},
    )
    with fails(ConfigError, where="weights.pth", found="no tensor", remedy=f"braindecode:{name}"):
        planned(dataset, fitting, tmp_path)


def test_trials_shorter_than_the_window_are_counted(tmp_path: Path) -> None:
    root = table(tmp_path)  # 30 sounds of 0.1 s
    notes = planned(root, with_settings(AUDIO, ["window=0.2"]), tmp_path).notes
    assert len([n for n in notes if all(fact in n for fact in ("30 of 30 trials", "0.2 s", "0.1 s"))]) == 1
    frame = pd.read_csv(root).assign(start=0.0, stop=0.1)
    frame.loc[0, "stop"] = 0.05
    frame.to_csv(root, index=False)
    notes = planned(root, with_settings(AUDIO, ["window=0.1"]), tmp_path).notes
    assert [n for n in notes if "1 of 30 trials" in n and "0.05 s" in n]
    assert not [n for n in planned(root, with_settings(AUDIO, ["window=0.05"]), tmp_path).notes if "shorter" in n]


VOICE = with_settings(STAGES["audio"], ["audio.encoder=voice"])


def test_voices_need_the_package_with_their_weights(dataset: Path, tmp_path: Path, monkeypatch) -> None:
    assert planned(dataset, VOICE, tmp_path).runs

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    with fails(ConfigError, where="voice", expected="Resemblyzer", remedy="pip install --no-deps Resemblyzer==0.1.4"):
        planned(dataset, VOICE, tmp_path)
    with fails(ConfigError, where="audio.weights", found="nothing at"):
        planned(dataset, with_settings(VOICE, [f"audio.weights={tmp_path / 'none.pt'}"]), tmp_path)
    foreign = saved(tmp_path / "weights.pt", {"lstm.weight_ih_l0": torch.zeros(2, 2)})
    with fails(ConfigError, where=str(foreign), expected="every tensor"):
        planned(dataset, with_settings(VOICE, [f"audio.weights={foreign}"]), tmp_path)
    assert not (tmp_path / "c").exists()


def test_the_app_reads_the_packages_weights_though_they_are_in_no_data_folder(dataset: Path, tmp_path: Path) -> None:
    set_data_folders([dataset.parent, tmp_path])
    assert planned(dataset, VOICE, tmp_path).runs


def test_a_folder_of_a_wave_model_is_checked_while_planning(dataset: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"conv_dim": [8, 8], "conv_kernel": [10, 4], "conv_stride": [5, 4], "num_feat_extract_layers": 2}
    sizes |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig(**sizes)).save_pretrained(tmp_path / "hubert")
    config = with_settings(STAGES["audio"], ["audio.encoder=wav2vec2", f"audio.weights={tmp_path / 'hubert'}"])
    assert planned(dataset, config, tmp_path).runs
    foreign = saved(tmp_path / "model.safetensors", {"fc.weight": torch.zeros(2, 2)})
    with fails(ConfigError, where="config.json", expected="model_type"):
        planned(dataset, with_settings(config, [f"audio.weights={foreign}"]), tmp_path)
    (tmp_path / "hubert" / "config.json").write_text('{"model_type": "vit"}')
    with fails(ConfigError, where="config.json", expected="hubert", found="vit"):
        planned(dataset, config, tmp_path)
