"""Import of published checkpoints as a study that is scored like a trained one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from published_models import PublishedEeg, PublishedFusion, randomised
from torch import Tensor, nn

from eavdash.cli.main import main
from eavdash.config.choices import COLUMN
from eavdash.config.schema import StudyConfig
from eavdash.data.windows import WindowSet
from eavdash.errors import ConfigError, DataError, UsageError
from eavdash.models.ast import AUDIOSET_SCALE, AUDIOSET_SHIFT
from eavdash.results import scores, shapley
from eavdash.store import find_study
from eavdash.studies.imported_runs import LABELS
from eavdash.studies.importing import import_checkpoint
from eavdash.training import run_context
from eavdash.training.finished import add_coalitions

#: The recordings of these tests are names only; their windows are made up.
pytestmark = pytest.mark.usefixtures("all_usable")

transformers = pytest.importorskip("transformers")


@dataclass(frozen=True)
class Sizes:
    """Sizes of the models and of their windows."""

    pixels: int = 16
    patch: int = 8
    width: int = 64  # of vision and audio: one head
    layers: int = 2
    channels: int = 3
    samples: int = 60
    eeg_width: int = 12
    eeg_depth: int = 2
    spectrogram: int = 55
    sound: int = 40
    frames: int = 2
    trials: int = 4  # of each class
    sparse: bool = False  # sound and video of the first class alone


FULL = Sizes(224, 16, 768, 12, 30, 500, 60, 6, 1024, 498, 1, 2, sparse=True)


@dataclass
class Published:
    """The models of one subject, their files, and recordings with random windows."""

    folder: Path
    sizes: Sizes
    models: dict[str, nn.Module] = field(default_factory=dict)
    subjects: tuple[str, ...] = ("1",)

    def __post_init__(self) -> None:
        s = self.sizes
        hf = {"hidden_size": s.width, "num_hidden_layers": s.layers, "num_attention_heads": s.width // 64}
        hf |= {"intermediate_size": 4 * s.width, "num_labels": 5}
        vit = transformers.ViTConfig(**hf, image_size=s.pixels, patch_size=s.patch)
        ast = transformers.ASTConfig(**hf, max_length=s.spectrogram)
        self.models = {
            "vision": randomised(transformers.ViTForImageClassification(vit), 1),
            "audio": randomised(transformers.ASTForAudioClassification(ast), 2),
            "eeg": randomised(PublishedEeg(s.channels, 5, s.eeg_width, s.eeg_depth), 3),
        }
        dims = {"vision": s.width, "audio": s.width, "eeg": s.eeg_width}
        self.models["fusion"] = randomised(PublishedFusion(dims), 4)
        self.folder.mkdir(exist_ok=True)
        for stage, model in self.models.items():
            torch.save(model.state_dict(), self.file(stage))
        rows = []
        for subject in self.subjects:
            for label in LABELS:
                for n in range(s.trials):
                    row = {"subject": subject, "trial": f"{label}{n}", "label": label, "group": f"{label}{n}"}
                    rows.append({**row, "start": "", "stop": ""})
                    for column in COLUMN.values():
                        if s.sparse and label != LABELS[0] and column != "eeg":
                            rows[-1][column] = ""
                            continue
                        rows[-1][column] = f"{subject}-{label}{n}.{column}"
                        (self.folder / rows[-1][column]).write_text(rows[-1][column])
        pd.DataFrame(rows).to_csv(self.folder / "trials.csv", index=False)

    def file(self, stage: str) -> Path:
        return self.folder / f"{stage}.pth"

    @property
    def files(self) -> dict[str, Path]:
        return {stage: self.file(stage) for stage in self.models}

    def windows(self, trials: pd.DataFrame, modality: str, config: StudyConfig, cache: Path) -> WindowSet:
        """Return random windows that depend on the trial."""
        s, keys, values = self.sizes, ["subject", "trial", "group", "label"], []
        for trial in trials["trial"]:
            random = np.random.default_rng([len(modality), *trial.encode()])
            if modality == "vision":
                values.append(random.integers(0, 256, (s.frames, s.pixels, s.pixels, 3)).astype(np.uint8))
            elif modality == "audio":
                values.append(random.normal(-5, 3, (s.sound, 128)).astype(np.float32))
            else:
                values.append(random.normal(0, 2e-6, (s.channels, s.samples)).astype(np.float32))
        long = {"vision": s.frames, "audio": s.sound, "eeg": s.samples}[modality]
        index = trials[keys].assign(window=0, start=0.0, stop=5.0)
        meta = {"key": f"{modality}-{len(trials)}", "channels": [f"E{i}" for i in range(s.channels)], "rate": 100.0}
        return WindowSet(modality, index, np.stack(values), np.ones((len(values), long), dtype=bool), meta)

    @torch.no_grad()
    def decide(self, trial: str) -> dict[str, Tensor]:
        """Return the logits (frame, K) of the published models on one trial, by stage."""
        row = pd.DataFrame([{"subject": "1", "trial": trial, "group": "", "label": ""}])
        x = {m: torch.from_numpy(self.windows(row, m, StudyConfig(), self.folder).values) for m in COLUMN}
        pictures = (x["vision"][0].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        sound = torch.zeros(1, self.sizes.spectrogram, 128)
        sound[:, : self.sizes.sound] = x["audio"]
        sound = (sound - AUDIOSET_SHIFT) / AUDIOSET_SCALE
        seen = self.models["vision"](pictures, output_hidden_states=True)
        heard = self.models["audio"].audio_spectrogram_transformer(sound).pooler_output
        felt = self.models["eeg"].feature(x["eeg"] * 1e6)
        token = self.models["vision"].vit(pictures).last_hidden_state[:, 0]
        joined = torch.cat([token, heard.expand(len(token), -1), felt.expand(len(token), -1)], dim=1)
        return {
            "vision": seen.logits,
            "audio": self.models["audio"](sound).logits,
            "eeg": self.models["eeg"](x["eeg"] * 1e6),
            "fusion": self.models["fusion"](joined),
        }


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    return installed(Published(tmp_path / "published", Sizes()), monkeypatch)


def installed(made: Published, monkeypatch: pytest.MonkeyPatch) -> Published:
    monkeypatch.setattr(run_context, "load_windows", made.windows)
    return made


def agree(made: Published, checkpoints: Path, trials: int) -> None:
    """Assert that the study's predictions are those of the published models: per frame, windows as geometric mean."""
    study = find_study(checkpoints, "theirs")
    complete = set(pd.read_parquet(study.run("s01-vision").predictions_file)["trial"])
    for stage in made.models:
        predictions = pd.read_parquet(study.run(f"s01-{stage}").verify("predictions.parquet"))
        predictions = predictions[predictions["trial"].isin(complete)]
        tested = predictions[predictions["split"] == "test"]["trial"].unique()
        assert len(tested)
        for trial in tested[:trials]:
            expected = made.decide(trial)[stage].log_softmax(-1)
            rows = predictions[predictions["trial"] == trial]
            found = rows[[f"p_{c}" for c in LABELS]].to_numpy()  # columns by name, in the published order
            if stage in ("vision", "fusion"):
                frames = found[(rows["frame"] >= 0).to_numpy()]
                assert np.abs(frames - expected.exp().numpy()).max() <= 1e-5
            window = expected.mean(dim=0).softmax(-1).numpy()
            assert np.abs(found[(rows["frame"] == -1).to_numpy()][0] - window).max() <= 1e-5


def test_the_study_decides_as_the_published_models_do(published: Published, tmp_path: Path) -> None:
    study = import_checkpoint(published.folder, "theirs", "1", published.files, tmp_path / "checkpoints", device="cpu")
    agree(published, tmp_path / "checkpoints", trials=3)
    assert sorted(r.name for r in study.runs()) == ["s01-audio", "s01-eeg", "s01-fusion", "s01-vision"]
    for run in study.runs():
        status = run.status()
        assert status.state == "done"
        assert set(status.checksums) >= {"model.safetensors", "predictions.parquet"}
        assert run.config().imported.file.endswith(f"{run.config().stage}.pth")
    fusion = study.run("s01-fusion")
    assert "shapley.parquet" in fusion.status().checksums
    assert (made := fusion.config().coalitions).absent == "training means"
    assert made.reproduction < 1e-5
    fusion.shapley_file.unlink()
    fusion.update(checksums={k: v for k, v in fusion.status().checksums.items() if k != "shapley.parquet"})
    add_coalitions(fusion)
    assert shapley.coalitions(study).without == ()
    document = study.study()
    assert (document.config["preset"], document.config["protocol"]["name"]) == ("paper", "paper")
    assert document.config["vision"]["width"] == 64


def test_it_is_scored_like_any_other_study(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--checkpoints", str(tmp_path / "checkpoints")]
    given = [f"--{stage}={path}" for stage, path in published.files.items() if stage != "fusion"]
    command = ["import-checkpoint", str(published.folder), "--study", "theirs", "--subject", "1", *where]
    assert main([*command, *given, f"--multimodal={published.file('fusion')}", "--device", "cpu", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["study"] == "theirs"
    assert {row["stage"] for row in printed["scores"]} == {"vision", "audio", "eeg", "fusion"}
    assert main(["results", "theirs", "--baselines", "--format", "json", *where]) == 0
    stages = {row["stage"] for row in json.loads(capsys.readouterr().out)}
    # The imported fusion is the published layer, so that layer is not listed as its rival.
    assert {"fusion:mean", "fusion:best", "fusion:calibrated", "majority"} <= stages
    assert "fusion:paper" not in stages
    assert main(["status", "theirs", *where]) == 0
    # Once more under the same name: it is there.
    assert main([*command, *given, f"--fusion={published.file('fusion')}", "--device", "cpu"]) == 2
    assert "choose another study name" in capsys.readouterr().err


def test_the_order_of_classes_is_the_files(published: Published, tmp_path: Path) -> None:
    turned = tuple(reversed(LABELS))
    study = import_checkpoint(
        published.folder, "s", "1", {"eeg": published.file("eeg")}, tmp_path / "c", labels=turned, device="cpu"
    )
    predictions = pd.read_parquet(study.run("s01-eeg").predictions_file)
    expected = published.decide(predictions["trial"].iloc[0])["eeg"].softmax(-1)[0]
    found = torch.tensor(predictions[[f"p_{c}" for c in turned]].iloc[0].to_numpy(dtype=float))
    assert (found - expected).abs().max() <= 1e-5
    with fails(UsageError, where="--labels", found="joy"):
        import_checkpoint(
            published.folder, "t", "1", {"eeg": published.file("eeg")}, tmp_path / "c", labels=("joy",), device="cpu"
        )
    assert not (tmp_path / "c" / "t").exists()


def test_other_subjects_are_added_to_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed(Published(tmp_path / "published", Sizes(), subjects=("1", "2")), monkeypatch)
    for subject in ("1", "2"):
        study = import_checkpoint(
            made.folder, "theirs", subject, {"eeg": made.file("eeg")}, tmp_path / "c", device="cpu"
        )
    assert [r.name for r in study.runs()] == ["s01-eeg", "s02-eeg"]
    assert set(scores(study)["subject"]) == {"1", "2"}


@pytest.mark.parametrize("stage", ["vision", "audio", "eeg", "fusion"])
@pytest.mark.parametrize("change", ["extra", "missing"])
def test_a_tensor_that_does_not_match_stops_the_import_before_it_begins(
    published: Published, tmp_path: Path, stage: str, change: str
) -> None:
    tensors: dict[str, Tensor] = dict(published.models[stage].state_dict())
    if change == "extra":
        tensors["adapter.weight"] = torch.zeros(3)
    else:
        del tensors[next(n for n in tensors if n.endswith(("norm.bias", "norm0.bias", "out_proj.bias")))]
    torch.save(tensors, published.file(stage))
    with fails(ConfigError, where=str(published.file(stage))) as caught:
        import_checkpoint(published.folder, "theirs", "1", published.files, tmp_path / "checkpoints", device="cpu")
    names = ("adapter.weight",) if change == "extra" else ("norm", "proj")
    assert any(name in str(caught.value) for name in names)
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_of_training_scripts_and_wrappers_are_read(published: Published, tmp_path: Path) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in published.models["eeg"].state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, published.file("eeg"))
    inside = {f"vision_model.{n}": t for n, t in published.models["vision"].state_dict().items()}
    torch.save({**published.models["fusion"].state_dict(), **inside}, published.file("fusion"))
    import_checkpoint(published.folder, "theirs", "1", published.files, tmp_path / "checkpoints", device="cpu")
    agree(published, tmp_path / "checkpoints", trials=1)


def test_nothing_is_unpickled(published: Published, tmp_path: Path) -> None:
    torch.save({"conv.0.weight": Path("dangerous")}, published.file("eeg"))
    with fails(ConfigError, where="eeg.pth"):
        import_checkpoint(published.folder, "s", "1", {"eeg": published.file("eeg")}, tmp_path / "c", device="cpu")


def test_recordings_that_do_not_match_fail_the_run_with_the_reason(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Published(tmp_path / "other", Sizes(channels=4))
    monkeypatch.setattr(run_context, "load_windows", other.windows)
    with fails(DataError, where="eeg", expected="channels 3", found="4"):
        import_checkpoint(published.folder, "s", "1", {"eeg": published.file("eeg")}, tmp_path / "c", device="cpu")
    status = find_study(tmp_path / "c", "s").run("s01-eeg").status()
    assert status.state == "failed"
    assert "channels 3" in status.reason


@pytest.mark.parametrize(
    ("files", "facts"),
    [
        ((), {"where": "import-checkpoint", "found": "no file", "remedy": "--eeg"}),
        (("fusion",), {"where": "import-checkpoint", "found": "fusion", "remedy": "--eeg"}),
        (("eeg", "fusion"), {"expected": "= 12"}),
    ],
)
def test_incomplete_imports_are_refused(
    published: Published, tmp_path: Path, files: tuple[str, ...], facts: dict[str, str]
) -> None:
    chosen: Mapping[str, Path] = {stage: published.file(stage) for stage in files}
    with fails(UsageError, **facts):
        import_checkpoint(published.folder, "s", "1", chosen, tmp_path / "c", device="cpu")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("setting", ["protocol.name=conversation", "fusion.joint_epochs=1"])
def test_another_protocol_or_fusion_is_refused(published: Published, tmp_path: Path, setting: str) -> None:
    """Another protocol would test on trials that the checkpoint was trained on."""
    given = {"eeg": published.file("eeg")}
    with fails(UsageError, where="--set"):
        import_checkpoint(published.folder, "s", "1", given, tmp_path / "c", settings=[setting], device="cpu")
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_full_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed(Published(tmp_path / "published", FULL), monkeypatch)
    study = import_checkpoint(made.folder, "theirs", "1", made.files, tmp_path / "checkpoints", device="cpu")
    agree(made, tmp_path / "checkpoints", trials=1)
    assert study.study().config["audio"]["frames"] == 1024
    kwargs = study.run("s01-fusion").config().model.kwargs
    assert kwargs["dims"] == {"vision": 768, "audio": 768, "eeg": 60}
