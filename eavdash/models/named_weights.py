"""The EEG encoder whose weights a folder holds, by what the folder says about itself.

In: the folder or file that ``eeg.weights`` names. Out: a value of ``eeg.encoder``. An encoder trained by eavdash is
named by its run's config.json. The config.json of braindecode has a model's settings without its name; that is among
the tags of the model card (README.md) that braindecode writes beside it, or part of the folder's name.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from eavdash.config.choices import ENCODERS
from eavdash.config.limits import HEADER_BYTES
from eavdash.models.tensorfiles import read_settings
from eavdash.store.readable import open_readable


def eeg_encoder_of(path: Path) -> str:
    """Return the value of ``eeg.encoder`` for the weights at ``path``; empty if the folder names no single model.

    Raises:
        ConfigError: config.json cannot be read, or braindecode is not installed.
    """
    folder = path if path.is_dir() else path.parent
    spec = read_settings(folder / "config.json").get("model")
    if isinstance(spec, dict) and spec.get("name") in ENCODERS["eeg"]:
        return str(spec["name"])
    if isinstance(spec, dict) and isinstance(spec.get("kwargs"), dict) and spec.get("name") == "braindecode":
        return f"braindecode:{spec['kwargs'].get('model')}"
    from eavdash.models.braindecode_eeg import braindecode_names

    names = {name.lower(): name for name in sorted(braindecode_names())}
    parts = re.split(r"[^a-z0-9]+", folder.resolve().name.lower())
    pairs = ["".join(pair) for pair in itertools.pairwise(parts)]  # signal-jepa
    for texts in (_tags(folder), [*parts, *pairs]):
        found = {names[text.lower()] for text in texts if text.lower() in names}
        if len(found) == 1:
            return f"braindecode:{found.pop()}"
    return ""


def _tags(folder: Path) -> list[str]:
    """Return the list items in the front matter of a folder's model card; none if it has no such card."""
    try:
        with open_readable(folder / "README.md") as opened:
            text = opened.read(HEADER_BYTES).decode(errors="replace")
    except OSError:
        return []
    front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    return re.findall(r"^\s*-\s+[\"']?([\w.-]+)", front[1], re.MULTILINE) if front else []
