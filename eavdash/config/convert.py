"""Conversion of a configuration from and to JSON, from key=value settings, and comparison with another one.

In and out: the dataclasses of :mod:`eavdash.config.schema`, JSON-ready dictionaries, and settings as users type them.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from eavdash.config import scaling
from eavdash.config.choices import STAGES
from eavdash.config.schema import SETTINGS, Execution, StudyConfig, TrainConfigs
from eavdash.config.setting import KINDS, Bounds
from eavdash.errors import ConfigError, IntegrityError
from eavdash.text import listing, parts, shortened


def execution_of(recorded: Mapping[str, Any]) -> Execution:
    """Return the execution settings that a run's status records, ignoring keys that other versions wrote."""
    known = {f.name for f in dataclasses.fields(Execution)}
    settings = {key: value for key, value in recorded.items() if key in known and value is not None}
    if "slurm" in settings:
        settings["slurm"] = tuple(settings["slurm"])
    return Execution(**settings)


def with_settings(config: StudyConfig, settings: Iterable[str]) -> StudyConfig:
    """Return ``config`` with each ``dotted.key=value`` applied, e.g. ``eeg.low=1`` or ``train.audio.epochs=5``.

    Raises:
        ConfigError: the key does not exist, the value has the wrong type, or the result is invalid.
    """
    data = to_dict(config)
    for setting in settings:
        key, eq, text = setting.partition("=")
        where = f"--set {shortened(setting)}"
        *parents, last = key.strip().split(".")
        node: Any = data
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if not eq:
            remedy = f"give it a value, as in {shortened(key.strip())}=..."
            raise ConfigError.at(where, expected="key=value", found="no =", remedy=remedy)
        if key.strip() == "preset":
            raise ConfigError.at(
                where,
                expected="a setting",
                found="the name of the preset that all settings start from",
                remedy="choose it with --preset; the rules of its optimisation alone are train.recipe",
            )
        if not isinstance(node, dict) or last not in node or isinstance(node[last], dict):
            raise ConfigError.at(
                where,
                expected="key=value with a key of the configuration",
                found=repr(shortened(key)),
                remedy=_key_remedy(key.strip(), [each for each in _keys(to_dict(config)) if each != "preset"]),
            )
        node[last] = _parse(text.strip(), node[last], where)
    return from_dict(data)


def _key_remedy(key: str, known: list[str]) -> str:
    """Return which keys may be meant by an unknown one: similar ones, or those of the part that it begins with."""
    if near := difflib.get_close_matches(key, known, n=3, cutoff=0.6):
        return f"did you mean {' or '.join(near)}"
    if part := [each for each in known if each.startswith(f"{key.split('.')[0]}.")]:
        return f"use one of {', '.join(part)}"
    first = dict.fromkeys(each.split(".")[0] for each in known)
    return f"use a key of docs/settings.md: it begins with one of {', '.join(first)}"


def to_dict(config: Any) -> dict[str, Any]:
    """Return the dataclass as JSON-ready nested dictionaries."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def from_dict(data: dict[str, Any]) -> StudyConfig:
    """Return the study configuration from the dictionary of :func:`to_dict`.

    Raises:
        ConfigError: a key is unknown or a value has the wrong type.
    """
    return typing.cast(
        StudyConfig, _build(StudyConfig, _with_scaling(_with_parts(_with_recipe(data))), "configuration")
    )


class Recorded(typing.Protocol):
    """A record with a study's settings as JSON, and the name of its file."""

    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def source(self) -> str: ...


def recorded_config(record: Recorded) -> StudyConfig:
    """Return the study configuration in a study's or a run's record.

    Raises:
        IntegrityError: a setting is unknown or has the wrong type.
    """
    try:
        return from_dict(record.config)
    except ConfigError as error:
        raise IntegrityError.at(
            f"{record.source}, {error.where}",
            expected=error.expected,
            found=error.found,
            remedy="restore the file, or train the study again",
        ) from error


def _with_recipe(data: Any) -> Any:
    """Add the recipe to the configuration of a study made before ``train.recipe``, when the preset decided it."""
    train = data.get("train", {}) if isinstance(data, dict) else None
    if not isinstance(train, dict) or "recipe" in train:
        return data
    return {**data, "train": {**train, "recipe": "published" if data.get("preset") == "paper" else "default"}}


def _with_parts(data: Any) -> Any:
    """Add the parts that a record lacks and whose settings then differ from those of the preset ``quick``.

    Names stayed as written, and the fusion was ``attention``.
    """
    return {"names": {}, "fusion": {}, **data} if isinstance(data, dict) else data


def _with_scaling(data: Any) -> Any:
    """Replace the switch that ``protocol.subject_scaling`` was in earlier versions by the mode that it stands for."""
    protocol = data.get("protocol") if isinstance(data, dict) else None
    if not isinstance(protocol, dict) or "subject_scaling" not in protocol:
        return data
    return {**data, "protocol": {**protocol, "subject_scaling": scaling.current(protocol["subject_scaling"])}}


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Return ``key: old → new`` for every leaf that differs between two nested dictionaries."""
    lines = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r} → {b!r}")
    return lines


def settings_of(config: StudyConfig, base: StudyConfig, among: Collection[str]) -> list[str]:
    """Return ``key=value`` for every setting below the keys ``among`` that differs from ``base``.

    :func:`with_settings` takes them.
    """

    def leaves(new: dict[str, Any], old: dict[str, Any], prefix: str) -> list[str]:
        found = []
        for key, value in new.items():
            if isinstance(value, dict):
                found += leaves(value, old[key], f"{prefix}{key}.")
            elif value != old[key]:
                found.append(f"{prefix}{key}={text_of(value)}")
        return found

    new, old = to_dict(config), to_dict(base)
    return leaves({key: new[key] for key in new if key in among}, old, "")


def text_of(value: Any) -> str:
    """Return a setting's value as ``--set`` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return listing(value) if isinstance(value, list | tuple) else str(value)


def check_setting(key: str, text: str) -> None:
    """Check one value as a user types it, without the rules between several settings.

    Raises:
        ConfigError: it has the wrong type or is out of bounds; its ``where`` is the key.
    """
    setting = SETTINGS[key]
    found = repr(shortened(text))
    default: Any = setting.default if isinstance(setting.default, bool | int | float | str) else []
    try:
        value = _parse(text.strip(), default, key)
        held = setting.bounds.hold(value) if setting.bounds != Bounds() else True
    except (ConfigError, OverflowError):
        held = False
    if not held:
        raise ConfigError.at(key, expected=setting.expected, found=found, remedy="correct it")


def with_epochs(config: StudyConfig, epochs: int) -> StudyConfig:
    """Return ``config`` with the same number of epochs in every stage (head-only epochs never exceed it)."""
    stages: dict[str, Any] = {
        s: replace(one, epochs=epochs, head_epochs=min(one.head_epochs, epochs))
        for s, one in ((s, getattr(config.train, s)) for s in STAGES)
    }
    return replace(config, train=TrainConfigs(**stages, recipe=config.train.recipe))


def _keys(data: dict[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in data.items():
        keys += _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return keys


def _parse(text: str, like: Any, where: str) -> Any:
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if isinstance(like, int):
            return int(text)
        if isinstance(like, float):
            return float(text)
    except (ValueError, KeyError):
        kind = KINDS[type(like)]
        raise ConfigError.at(where, expected=kind, found=repr(shortened(text)), remedy=f"give {kind}") from None
    if isinstance(like, list):
        return list(parts(text))
    return text


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields; evaluating them takes most of the time of reading a configuration."""
    return typing.get_type_hints(cls)


def _build(cls: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ConfigError.at(where, expected="a dictionary of settings", found=repr(data), remedy="see docs/guide.md")
    hints = _hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ConfigError.at(
            where, expected=", ".join(hints), found=f"unknown {', '.join(unknown)}", remedy="remove it"
        )
    values = {}
    for key, value in data.items():
        hint = hints[key]
        setting = f"{where}.{key}"
        if dataclasses.is_dataclass(hint):
            values[key] = _build(hint, value, setting)
        elif typing.get_origin(hint) is tuple:
            if not isinstance(value, (list, tuple)):
                raise ConfigError.at(setting, expected="a list", found=repr(value), remedy="give a list")
            values[key] = tuple(value)
        elif isinstance(hint, types.UnionType):
            values[key] = value
        else:
            if hint is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value) if abs(value) < 2**1000 else math.inf if value > 0 else -math.inf
            if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
                raise ConfigError.at(
                    setting, expected=KINDS[hint], found=shortened(repr(value)), remedy="correct the value"
                )
            values[key] = value
    return cls(**values)
