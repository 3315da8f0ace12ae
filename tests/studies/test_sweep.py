"""Several values of settings as several studies."""

from __future__ import annotations

import pytest

from eavdash.config.presets import preset
from eavdash.errors import ConfigError, UsageError
from eavdash.studies.sweep import MOST, members


def test_each_combination_of_values_is_a_study_named_after_it() -> None:
    base = preset("quick")
    made = members("pilot", base, ["fusion.kind=attention,concat", "train.eeg.learning_rate=1e-3, 1e-2"])
    assert [m.name for m in made] == [
        f"pilot-kind-{kind}-learning_rate-{rate}" for kind in ("attention", "concat") for rate in ("1e-3", "1e-2")
    ]
    assert {(m.config.fusion.kind, m.config.train.eeg.learning_rate) for m in made} == {
        (kind, rate) for kind in ("attention", "concat") for rate in (0.001, 0.01)
    }
    assert made[0].settings == ("fusion.kind=attention", "train.eeg.learning_rate=1e-3")
    (one,) = members("pilot", base, [])
    assert (one.name, one.config) == ("pilot", base)


def test_values_with_commas_and_keys_that_end_alike_have_names_of_their_own() -> None:
    made = members("p", preset("quick"), ['eeg.channels="C3,C4","C3/C4",'])
    assert [(m.name, m.config.eeg.channels) for m in made] == [
        ("p-channels-C3-C4", ("C3", "C4")),
        ("p-channels-C3-C4-2", ("C3/C4",)),
    ]
    made = members("p", preset("quick"), ["eeg.dropout=0,0.1", "audio.dropout=0,0.1"])
    assert made[0].name == "p-eeg.dropout-0-audio.dropout-0"


@pytest.mark.parametrize(
    ("sweeps", "expected"),
    [
        (["eeg.low"], "two or more values"),
        (["eeg.low=1"], "two or more values"),
        (["eeg.low=1,2", "eeg.low=3,4"], "each setting once"),
        (["eeg.low=1,1.0"], "different values"),
        (["eeg.low=1,60"], "below eeg.high"),
        (["eeg.low=1,x"], "^--sweep eeg.low: expected a number, found 'x'"),
        (["eeg.lows=1,2"], "a key of the configuration"),
        (["preset=quick,paper"], "a setting"),
        ([f"train.eeg.epochs={','.join(map(str, range(1, MOST + 2)))}"], "at most"),
    ],
)
def test_a_wrong_sweep_is_one_sentence(sweeps: list[str], expected: str) -> None:
    with pytest.raises((UsageError, ConfigError), match=expected):
        members("p", preset("quick"), sweeps)
