"""Several values of settings make several studies, which are queued together and compared.

In: the name of the studies, a configuration, and texts ``key=value,value``. Out: a :class:`Member` for each combination
of the values, named after them: ``pilot-kind-attention``. Nothing is written.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError, UsageError
from eavdash.text import parts, shortened

#: Studies of one sweep.
MOST = 100


@dataclass(frozen=True)
class Member:
    """One study of a sweep; ``settings`` are its values of what varies, as ``key=value``."""

    name: str
    config: StudyConfig
    settings: tuple[str, ...] = ()


def members(name: str, config: StudyConfig, sweeps: Sequence[str]) -> tuple[Member, ...]:
    """Return the studies of all combinations of the values; without ``sweeps`` the one study itself.

    Raises:
        UsageError: a text is not ``key=value,value`` with different values, a key comes twice, or there are too many
            studies.
        ConfigError: a setting or a combination of them is invalid.
    """
    if not sweeps:
        return (Member(name, config),)
    varied: dict[str, tuple[str, ...]] = {}
    for text in sweeps:
        key, _, typed = text.partition("=")
        values = parts(typed)
        if len(values) < 2 or key.strip() in varied:
            again = "the same setting twice" if key.strip() in varied else repr(shortened(text))
            raise _wrong(key, "two or more values with commas between them, each setting once", again)
        varied[key.strip()] = values
    count = math.prod(map(len, varied.values()))
    if count > MOST:
        raise _wrong(next(iter(varied)), f"at most {MOST} studies", f"{count:,} combinations of values")
    labels = _labels(tuple(varied))
    made: dict[StudyConfig, Member] = {}
    names: set[str] = set()
    for values in itertools.product(*varied.values()):
        settings = tuple(f"{key}={value}" for key, value in zip(varied, values, strict=True))
        changed = _changed(config, settings)
        if changed in made:
            equal = f"{', '.join(made[changed].settings)} and {', '.join(settings)}, which mean the same"
            raise _wrong(next(iter(varied)), "different values", equal)
        own = "-".join([name, *(f"{labels[k]}-{_word(v)}" for k, v in zip(varied, values, strict=True))])
        number = next(n for n in itertools.count(1) if (own if n == 1 else f"{own}-{n}") not in names)
        own = own if number == 1 else f"{own}-{number}"
        names.add(own)
        made[changed] = Member(own, changed, settings)
    return tuple(made.values())


def _changed(config: StudyConfig, settings: Sequence[str]) -> StudyConfig:
    """Return the configuration with one value of each setting.

    Raises:
        ConfigError: a value or the combination of them is invalid; a value is named by its option, ``--sweep key``.
    """
    try:
        return with_settings(config, settings)
    except ConfigError as error:
        for setting in settings:
            if error.where == f"--set {shortened(setting)}":
                where = f"--sweep {shortened(setting.partition('=')[0])}"
                raise ConfigError.at(where, expected=error.expected, found=error.found, remedy=error.remedy) from None
        raise


def _labels(keys: Sequence[str]) -> dict[str, str]:
    """Return a short name for each key: its last part, or all of it where two end alike."""
    last = {key: key.rpartition(".")[2] for key in keys}
    ends = list(last.values())
    return {key: _word(end if ends.count(end) == 1 else key) for key, end in last.items()}


def _word(text: str) -> str:
    """Return a text as a part of a study's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "none"


def _wrong(key: str, expected: str, found: str) -> UsageError:
    return UsageError.at(f"--sweep {shortened(key.strip())}", expected=expected, found=found, remedy="correct it")
