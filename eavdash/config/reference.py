"""The reference of all settings as Markdown: ``python -m eavdash.config.reference > docs/settings.md``.

In: the schema and the presets. Out: one table per part of the configuration.
"""

from __future__ import annotations

from typing import Any

from eavdash.config.presets import PRESETS, preset
from eavdash.config.schema import SETTINGS
from eavdash.config.setting import KINDS, value_of

HEAD = """# Settings

Every setting of a study, as `--set key=value` takes it and the launch form offers it, with the values of the presets.
`python -m eavdash.config.reference` writes this page from `eavdash/config/schema.py`. A study keeps its settings for
good; a study made before a setting existed keeps the behaviour of then. An encoder `auto` (the preset frozen's) is
chosen when a study is planned, by the weights that are at hand: [models.md](models.md#the-preset-frozen).
"""


def reference() -> str:
    """Return the page."""
    parts: dict[str, list[str]] = {}
    presets = {name: preset(name) for name in PRESETS}
    for key, setting in SETTINGS.items():
        part = key.rpartition(".")[0] or "study"
        values = " | ".join(_shown(value_of(config, key)) for config in presets.values())
        bounds = str(setting.bounds) or KINDS.get(setting.kind, "a list")
        parts.setdefault(part, []).append(f"| `{key}` | {values} | {bounds} | {setting.help} |")
    header = f"| setting | {' | '.join(presets)} | values | meaning |\n|{'---|' * (3 + len(presets))}"
    tables = (f"## {part}\n\n{header}\n" + "\n".join(rows) for part, rows in parts.items())
    return HEAD + "\n" + "\n\n".join(tables) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        value = ",".join(value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else ""


if __name__ == "__main__":
    print(reference(), end="")
