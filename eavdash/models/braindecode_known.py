"""Facts about braindecode's published models: sampling rate, scale of the input, and parts made for the electrodes.

In: the name of a model and the settings of a study. Out: the keyword arguments of
:class:`eavdash.models.braindecode_eeg.BraindecodeEncoder`, among them what published weights determine (the config.json
beside the file), or an error that names the setting to use.

Rates and scales are those of braindecode's documentation and of the models' own repositories. They are used with
published weights; from scratch any rate is allowed and channels are scaled by the training windows, as for any encoder.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from eavdash.config import scaling
from eavdash.config.limits import HEADER_BYTES
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.models.tensorfiles import read_settings, read_tensors
from eavdash.store.quoting import reason_of
from eavdash.store.readable import open_readable

INTERPOLATED = "Interpolated"


@dataclass(frozen=True)
class Known:
    """A model with published weights: rate in Hz, input scale (models/eeg_scales.py), samples per patch."""

    rate: float
    scale: str
    patch: int = 1  # windows must be a multiple of it
    own: str = ""  # pattern of tensors of the electrodes: those of other electrodes are made or trained anew


KNOWN = {
    "BENDR": Known(256, "range"),
    "BIOT": Known(200, "percentile"),
    "CBraMod": Known(200, "uV/100", 200),
    "CodeBrain": Known(200, "uV/100"),  # it cuts off what its patch does not divide
    "EEGDINO": Known(200, "uV/100"),  # it pads what its patch does not divide
    "EEGPT": Known(256, "z", own=r"chan_proj\..+"),
    "Labram": Known(200, "uV/100", 200),
    "REVE": Known(200, "z15"),
    "SignalJEPA": Known(128, "uV", own=r"pos_encoder\.pos_encoder_spat\.weight"),
}
#: Models that cannot be built without the electrodes' names or positions.
ELECTRODES = ("DGCNN", "Labram", "REVE", "SignalJEPA", "SignalJEPA_Contextual", "ZUNA")
#: Settings in a config.json that describe the windows or the output, which are those of the study.
_WINDOWS = frozenset({"n_outputs", "n_chans", "chs_info", "n_times", "input_window_seconds", "sfreq"})
_OUTPUT = frozenset(
    {"return_encoder_output", "return_feature", "return_features", "final_layer", "braindecode_version"}
)
#: REVE's bank of electrode positions: its file, and the folder that braindecode reads it from.
REVE_FILES, REVE_FOLDER = ("reve_positions.json", "positions.json"), "REVE_POSITIONS_PATH"


def known(model: str) -> Known | None:
    """Return what is known about the published weights of a model, also of one that interpolates electrodes."""
    name = model.removeprefix(INTERPOLATED).partition("_")[0]
    return KNOWN.get({"LaBraM": "Labram"}.get(name, name))


def encoder_kwargs(config: StudyConfig, model: str, cls: type, channels: Sequence[str], samples: int) -> dict[str, Any]:
    """Return the keyword arguments of the encoder ``braindecode:model`` of class ``cls``, beside classes and model.

    Raises:
        ConfigError: the windows do not fit the model or its weights.
    """
    eeg, facts = config.eeg, known(model)
    kwargs: dict[str, Any] = {"channels": len(channels), "samples": samples, "rate": eeg.rate}
    if facts and samples % facts.patch and eeg.rate != facts.rate:
        raise _rate_error(model, facts.rate, eeg.rate)
    if facts and samples % facts.patch:
        seconds = facts.patch / eeg.rate
        raise ConfigError.at(
            "window",
            expected=f"a multiple of {seconds:g} s ({facts.patch} samples), the patch of braindecode:{model}",
            found=f"{samples} samples",
            remedy=f"set window={max(1, samples // facts.patch) * seconds:g}",
        )
    if facts and eeg.tokens == "pooled":
        kwargs["pooled"] = True
    if eeg.weights:
        kwargs |= _of_weights(config, model, cls, facts, Path(eeg.weights))
    identified = kwargs.get("options", {}).get("chan_proj_type") == "none" or (model == "LUNA" and eeg.weights)
    if model in ELECTRODES or model.startswith(INTERPOLATED) or identified:
        kwargs["names"] = list(channels)
    if model == "REVE":
        kwargs["positions"] = _reve_positions(channels, Path(eeg.weights) if eeg.weights else None)
    return kwargs


def is_own(tensors: Mapping[str, Any]) -> bool:
    """Return True for the tensors of an encoder that was trained here, which include its input scaling."""
    return "shift" in tensors and "scale" in tensors


def _of_weights(config: StudyConfig, model: str, cls: type, facts: Known | None, path: Path) -> dict[str, Any]:
    """Return what a file of weights determines; of an encoder trained here that is in its run's config.json."""
    file, tensors = read_tensors(path, values=False)
    settings = read_settings(file)
    if is_own(tensors):
        spec = settings.get("model")
        trained = spec.get("kwargs") if isinstance(spec, dict) else None
        if not isinstance(trained, dict) or trained.get("model") != model:
            return {"pooled": False} if isinstance(trained, dict) else {}
        return {"pooled": False, **{key: trained[key] for key in ("pooled", "unit", "options") if key in trained}}
    rate = settings.get("sfreq") or (facts.rate if facts else config.eeg.rate)
    if isinstance(rate, int | float) and rate != config.eeg.rate:
        raise _rate_error(model, rate, config.eeg.rate)
    scale = facts.scale if facts else ""
    if scale.startswith("uV") and config.protocol.subject_scaling != scaling.OFF:
        raise ConfigError.at(
            "protocol.subject_scaling",
            expected=f"off: braindecode:{model} was trained on microvolts",
            found=str(config.protocol.subject_scaling),
            remedy="set protocol.subject_scaling=off, or use another encoder",
        )
    return {"unit": scale, "options": options(file, settings, cls)}


def options(file: Path, settings: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Return the settings of a config.json that differ from the defaults of ``cls``, without those of the windows.

    Raises:
        ConfigError: the class has no such setting, or its value is not plain.
    """
    parameters = inspect.signature(cls).parameters
    base = inspect.signature(cls.__mro__[1]).parameters if cls.__name__.startswith(INTERPOLATED) else {}
    found = {}
    for name, value in settings.items():
        if name in _WINDOWS | _OUTPUT or name.startswith("_"):
            continue
        parameter = base.get(name) or parameters.get(name)
        if parameter is None and name in ("interpolation_method", "interpolation_mode", "trainable"):
            continue  # weights of the interpolating class, read without it
        if parameter is None or not isinstance(value, str | int | float | bool | list | None):
            raise ConfigError.at(
                file.parent / "config.json",
                expected=f"settings of braindecode's {cls.__name__}",
                found=f"{name}={json.dumps(value)[:80]}",
                remedy="use weights of the same model, in a folder with their own config.json",
            )
        usual = parameter.default
        usual = f"{usual.__module__}.{usual.__qualname__}" if isinstance(usual, type) else usual
        if json.dumps(value) != json.dumps(usual, default=str):
            found[name] = value
    return found


def as_arguments(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as Python values: names of torch's layers become classes; nothing else is imported.

    Raises:
        ValueError: a name is not that of one of torch's layers.
    """
    made = {}
    for name, value in chosen.items():
        if isinstance(value, str) and value.startswith("torch."):
            layer = getattr(nn, value.rpartition(".")[2], None)
            if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
                raise ValueError(f"{name}={value} is not a layer of torch")
            made[name] = layer
        else:
            made[name] = value
    return made


def _reve_positions(channels: Sequence[str], weights: Path | None) -> list[list[float]]:
    """Return REVE's own positions (channel, 3) from the file beside the weights, or in REVE_POSITIONS_PATH.

    Raises:
        ConfigError: there is no such file, or it lacks a channel.
    """
    near = [] if weights is None else [weights if weights.is_dir() else weights.parent]
    folders = [*near, *(Path(folder) for folder in [os.environ.get(REVE_FOLDER, "")] if folder)]
    file = next((folder / name for folder in folders for name in REVE_FILES if (folder / name).is_file()), None)
    remedy = f"put {REVE_FILES[0]} beside the weights or into the folder that {REVE_FOLDER} names"
    if file is None:
        found = "none, and nothing is downloaded"
        raise ConfigError.at("braindecode:REVE", expected="its file of positions", found=found, remedy=remedy)
    try:
        with open_readable(file) as opened:
            bank = {str(k).upper(): [float(v) for v in p] for k, p in json.loads(opened.read(HEADER_BYTES)).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError.at(file, expected="positions", found=reason_of(error, file), remedy=remedy) from error
    if missing := [name for name in channels if len(bank.get(name.upper(), ())) != 3]:
        remedy = "leave these channels out with eeg.channels"
        raise ConfigError.at(file, expected="a position of each channel", found=", ".join(missing), remedy=remedy)
    return [bank[name.upper()] for name in channels]


def _rate_error(model: str, rate: float, found: float) -> ConfigError:
    return ConfigError.at(
        "eeg.rate",
        expected=f"{rate:g} Hz, at which braindecode:{model} was trained",
        found=f"{found:g} Hz",
        remedy=f"set eeg.rate={rate:g}",
    )
