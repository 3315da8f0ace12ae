"""Settings of kinds that several parts of the configuration have, with their bounds."""

from __future__ import annotations

from typing import Any

from eavdash.config.setting import setting

# Bounds that several settings share. They are wide: they stop typing errors that would fill memory or never end.


def count_setting(default: int, text: str, at_least: int = 1) -> Any:
    return setting(default, text, at_least=at_least, at_most=1_000_000)


def layers_setting(default: int, text: str = "Layers of the transformer.") -> Any:
    return setting(default, text, at_least=1, at_most=200)


def width_setting(default: int, text: str = "Width of the transformer.") -> Any:
    return setting(default, text, at_least=1, at_most=16_384)


def heads_setting(default: int) -> Any:
    return setting(default, "Attention heads; they divide the width.", at_least=1, at_most=16_384)


def share_setting(default: float, text: str) -> Any:
    return setting(default, text, at_least=0, below=1)


def learning_rate_setting(default: float, text: str) -> Any:
    return setting(default, text, above=0, at_most=1_000)
