"""The encoder of voices: its network and front end against the package's own, masks, people, weights."""

from __future__ import annotations

import hashlib
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from failing import fails
from torch import Tensor
from torch.nn import functional as F

from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.data.audio.front_ends import VOICE_BANDS, VoiceMel, front_end, voice_hertz
from eavdash.errors import ConfigError
from eavdash.explain.attributions import integrated_gradients
from eavdash.explain.fused import FusedModel
from eavdash.models import packaged, weights
from eavdash.models.build import build, encoder_spec
from eavdash.models.tensorfiles import read_tensors
from eavdash.models.voice import STRETCH, VoiceEncoder

CONFIG = with_settings(StudyConfig(stages=("audio",)), ["audio.encoder=voice"])
STEPS = 260


def encoder(classes: int = 3, published: bool = False) -> VoiceEncoder:
    torch.manual_seed(0)
    model: VoiceEncoder = build(encoder_spec("audio", CONFIG, classes, {"frames": STEPS, "mels": VOICE_BANDS}))
    if published:
        weights.load_configured(model, CONFIG, "audio")
    return model.eval()


def sound(seconds: float, seed: int = 0, loudness: float = 0.02) -> np.ndarray:
    """Noise whose loudness and colour change, so that bands differ."""
    random = np.random.default_rng(seed)
    wave = random.normal(size=round(seconds * 16_000))
    wave = np.convolve(wave, random.normal(size=16), mode="same")
    return (loudness * wave * (1.2 + np.sin(np.arange(len(wave)) / 1500))).astype(np.float32)


def heard(*waves: np.ndarray) -> tuple[Tensor, Tensor]:
    """A batch of windows of STEPS with the sound of ``waves``."""
    x, mask = torch.zeros(len(waves), STEPS, VOICE_BANDS), torch.zeros(len(waves), STEPS, dtype=torch.bool)
    for n, wave in enumerate(waves):
        values = torch.from_numpy(VoiceMel().values(wave))
        x[n, : len(values)], mask[n, : len(values)] = values, True
    return x, mask


@pytest.fixture
def published() -> dict[str, Tensor]:
    return read_tensors(packaged.voice_weights())[1]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package's own modules, with stubs for what it imports and these tests do not call."""
    for name in ("webrtcvad", "librosa"):
        if name == "webrtcvad" or not find_spec(name):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
    files = {f.name: Path(str(f.locate())) for f in metadata.files(packaged.PACKAGE) or []}
    made = ModuleType("resemblyzer")
    made.__path__ = []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "resemblyzer", made)
    for name in ("hparams", "audio", "voice_encoder"):
        module = ModuleType(f"resemblyzer.{name}")
        monkeypatch.setitem(sys.modules, f"resemblyzer.{name}", module)
        setattr(made, name, module)
        source = files[f"{name}.py"].read_text().replace("from scipy.ndimage.morphology", "from scipy.ndimage")
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return made


def theirs(package: Any, published: dict[str, Tensor]) -> Any:
    made = package.voice_encoder.VoiceEncoder.__new__(package.voice_encoder.VoiceEncoder)
    torch.nn.Module.__init__(made)
    made.lstm, made.linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    made.relu = torch.nn.ReLU()
    made.load_state_dict(published, strict=False)
    return made.eval()


def test_the_network_is_the_packages(package: Any, published: dict[str, Tensor]) -> None:
    x, mask = heard(sound(0.7), sound(0.9, 1))
    model, other = encoder(published=True), theirs(package, published)
    with torch.no_grad():
        states = model.states(x, mask)
        for n, length in enumerate(mask.sum(dim=1).tolist()):
            power = x[n : n + 1, :length].exp()
            expected = other(power)[0]
            last = F.relu(F.linear(states[n, length - 1], published["linear.weight"], published["linear.bias"]))
            torch.testing.assert_close(last / last.norm(), expected, atol=1e-5, rtol=1e-5)
            reached = other.lstm(power)[0][0]
            torch.testing.assert_close(states[n, :length], reached, atol=1e-5, rtol=1e-5)
    assert float(states.abs().max()) > 0.1


@pytest.mark.parametrize("loudness", [0.0005, 0.02, 0.2])
def test_the_front_end_is_librosas(package: Any, loudness: float) -> None:
    librosa = pytest.importorskip("librosa")
    wave = sound(3.21, loudness=loudness)
    with np.errstate(all="raise"):
        louder = package.audio.normalize_volume(wave, -30, increase_only=True)
    front = VoiceMel()
    np.testing.assert_allclose(front.of_trial(wave), louder, rtol=1e-5, atol=1e-9)
    expected = librosa.feature.melspectrogram(y=louder, sr=16000, n_fft=400, hop_length=160, n_mels=40).T
    found = np.exp(front.values(front.of_trial(wave)))
    assert found.shape == expected.shape == (front.steps(3.21), VOICE_BANDS)
    # Relative to each frame: a transform in float32 is as exact as its loudest band.
    assert (np.abs(found - expected) / expected.max(axis=1, keepdims=True)).max() < 1e-5
    np.testing.assert_allclose(voice_hertz(), librosa.mel_frequencies(42, fmin=0, fmax=8000)[1:-1], rtol=1e-5)


def test_reference_values_of_the_front_end() -> None:
    """Of librosa 0.11 for the same sound, so that the front end is checked where librosa is not installed."""
    power = np.exp(VoiceMel().values(VoiceMel().of_trial(sound(1.0))))
    np.testing.assert_allclose([power[n].max() for n in (10, 50, 90)], REFERENCE, rtol=1e-5)


REFERENCE = (0.6241124, 0.02576672, 0.3367795)


def test_silence_stays_silence_and_too_little_sound_gives_no_step() -> None:
    front = VoiceMel()
    silent = np.zeros(16_000, np.float32)
    assert not front.of_trial(silent).any()
    assert (front.values(silent) == np.float32(front.fill)).all()
    assert front.values(silent[:399]).shape == (0, VOICE_BANDS)
    assert front.values(silent[:400]).shape == (front.steps(400 / 16_000), VOICE_BANDS) == (3, VOICE_BANDS)


def test_only_the_recorded_part_of_a_window_counts() -> None:
    model = encoder()
    short = heard(sound(1.3))
    length = int(short[1].sum())
    x, mask = short[0].clone(), short[1]
    x[:, length:] = 1e6
    alone = model.states(x[:, :length], mask[:, :length])
    with torch.no_grad():
        first, second, cut = model(*short), model(x, mask), model(x[:, :length], mask[:, :length])
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.tokens[first.mask], second.tokens[second.mask])
    torch.testing.assert_close(first.logits, cut.logits, atol=1e-6, rtol=1e-5)
    mean = alone.mean(dim=1)
    torch.testing.assert_close(model.forward_features(*short)[:, 0, :256], mean, atol=1e-6, rtol=1e-5)
    assert first.mask.tolist() == [[True, length > 130, False]]


def test_one_token_per_second_and_one_for_less() -> None:
    x, mask = heard(sound(2.5), sound(0.1))
    made = encoder()(x, mask)
    assert made.tokens.shape == (2, round(STEPS / STRETCH), 512)
    assert made.mask.tolist() == [[True, True, True], [True, False, False]]
    assert encoder()(x[:, :30], mask[:, :30]).tokens.shape == (2, 1, 512)


def test_features_are_standardised_by_training_windows_or_by_a_person() -> None:
    model = encoder(published=True)
    x, mask = (t[:, :90] for t in heard(*(sound(0.8, n) for n in range(6))))
    model.fit_features([(x[:4], mask[:4]), (x[4:], mask[4:])])
    whole = model.forward_features(x, mask)[:, 0]
    torch.testing.assert_close(whole.mean(dim=0), torch.zeros(512), atol=1e-3, rtol=0)
    torch.testing.assert_close(whole.std(dim=0, correction=0), torch.ones(512), atol=1e-3, rtol=0)
    person = model.person_statistics(x[:2], mask[:2])
    assert {name: value.shape for name, value in person.items()} == {"shift": (512,), "scale": (512,)}
    each = {name: value.expand(2, -1) for name, value in person.items()}
    own = model.forward_features(x[:2], mask[:2], each)[:, 0]
    torch.testing.assert_close(own.mean(dim=0), torch.zeros(512), atol=1e-3, rtol=0)
    direct = model(x[:2], mask[:2], person=each)
    torch.testing.assert_close(direct.logits, model.head(own))
    # One window has no spread of its own: the scale is that of the training windows, made smaller.
    alone = model.person_statistics(x[:1], mask[:1])["scale"] / model.get_buffer("feature_scale")
    assert alone.min() > 0.5


def test_attributions_add_up_and_cudnn_is_off_for_recurrent_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    own = encoder(published=True)
    x, mask = heard(*(sound(0.8, n) for n in range(3)))
    own.fit_features([(x, mask)])
    own.set_scaling(x[mask].mean(dim=0), torch.ones(VOICE_BANDS))
    model = FusedModel({"audio": own}, None)
    seen: list[bool] = []
    states = own.states
    monkeypatch.setattr(own, "states", lambda *given: (seen.append(torch.backends.cudnn.enabled), states(*given))[1])
    x, mask = x[:1, :70], mask[:1, :70]
    mask[:, 60:] = False
    found, receipt = integrated_gradients(model, {"audio": x}, {"audio": mask}, 0, steps=32, batch=16)
    assert torch.backends.cudnn.enabled
    assert len(seen) >= 4
    assert not any(seen[:-2])
    assert found["audio"].shape == x.shape
    assert not found["audio"][~mask].any()
    assert abs(receipt.output - receipt.baseline) > 0.01
    assert receipt.relative_gap < 0.02


def test_the_packages_weights_are_found_and_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = packaged.voice_weights()
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith("39373b86598f")
    left_out = weights.load_pretrained(encoder(), file)
    assert left_out == ["linear.bias", "linear.weight", "similarity_bias", "similarity_weight"]
    assert "resemblyzer" not in sys.modules
    other = tmp_path / "resemblyzer" / "pretrained.pt"
    other.parent.mkdir()
    other.write_bytes(file.read_bytes()[:-1])
    entry = metadata.PackagePath("resemblyzer/pretrained.pt")
    entry.dist = metadata.PathDistribution(tmp_path / "Resemblyzer-0.1.4.dist-info")
    monkeypatch.setattr(metadata, "files", lambda name: [entry])
    with fails(ConfigError, where="voice", expected="39373b86598f", remedy=packaged.PACKAGE):
        packaged.voice_weights()
    monkeypatch.setattr(metadata, "files", lambda name: [])
    with fails(ConfigError, where="voice", found="no such file"):
        packaged.voice_weights()


def test_weights_of_another_model_are_refused(tmp_path: Path, published: dict[str, Tensor]) -> None:
    file = tmp_path / "other.pt"
    torch.save({"model_state": {**published, "attention.weight": torch.zeros(2)}}, file)
    with fails(ConfigError, where=str(file), found="attention.weight"):
        weights.load_pretrained(encoder(), file)
    torch.save({n: t for n, t in published.items() if n != "lstm.bias_hh_l2"}, file)
    with fails(ConfigError, where=str(file), found="bias_hh_l2"):
        weights.load_pretrained(encoder(), file)


def test_settings_that_do_not_fit_are_refused() -> None:
    assert isinstance(front_end(CONFIG.audio), VoiceMel)
    with fails(ConfigError, where="audio.rate", expected="16000", found="8000"):
        with_settings(CONFIG, ["audio.rate=8000"])
