"""Rules about EEG recordings: bad channels, amplitude, BAD annotations, line noise.

In: a configuration. Out: the rules that :mod:`eavdash.health.rules` applies to the measures of EEG recordings.
"""

from __future__ import annotations

from eavdash.config.schema import StudyConfig
from eavdash.data.eeg.bad import KINDS
from eavdash.health.rule import Rule

#: µV, standard deviation. Scalp EEG has about 5 to 50, with drifts some hundreds; values beyond mean another unit.
AMPLITUDE = (0.5, 10_000.0)
#: Faults of EEG channels that spoil nothing but the channel, and are judged by comparison with others only.
MILD = ("weak", "uncorrelated")
#: Power at the mains frequency relative to neighbouring frequencies, median over channels: 10 is visible in the traces.
LINE_NOISE = 10.0
#: Hz that a filter needs between the band's upper edge and the mains frequency.
LINE_MARGIN = 2.0

_EEG = ("eeg",)


def eeg_rules(config: StudyConfig) -> list[Rule]:
    """The rules for a study with this configuration."""
    return [
        Rule(
            _EEG,
            "no signal in any EEG channel",
            "warning",
            "check the amplifier's file, or leave the trial out",
            lambda f: (f["flat"] > 0) & (f["flat"] == f["channels"]),
            lambda r: f"all {r['channels']:.0f} are flat",
        ),
        *(_bad_channels(config, kind) for kind in KINDS),
        Rule(
            _EEG,
            "EEG with an implausible amplitude",
            "warning",
            "check the unit of the file's samples",
            lambda f: f["amplitude"].notna() & (f["flat"] < f["channels"]) & ~f["amplitude"].between(*AMPLITUDE),
            lambda r: f"{r['amplitude']:.3g} µV",
        ),
        Rule(
            _EEG,
            "BAD annotations",
            "info" if config.eeg.reject_marked else "warning",
            "nothing, as training windows under them are left out (eeg.reject_marked)"
            if config.eeg.reject_marked
            else "set eeg.reject_marked=true to leave training windows under them out",
            lambda f: f["marked"] > 0,
            lambda r: f"{r['marked']:.3g} s of {r['duration']:.3g} s",
        ),
        *(_line_noise(config, mains) for mains in (50.0, 60.0)),
    ]


def _bad_channels(config: StudyConfig, kind: str) -> Rule:
    eeg = config.eeg
    replaced = eeg.bad_channels == "interpolate" and eeg.bad_rules == "all"
    remedy = "leave them out of eeg.channels"
    if replaced:
        remedy = "nothing, as eeg.bad_channels=interpolate replaces them if half of the channels are good"
    elif eeg.chain != "published":
        settings = "eeg.bad_channels=interpolate" + ("" if eeg.bad_rules == "all" else " and eeg.bad_rules=all")
        remedy = f"set {settings}, or {remedy}"
    return Rule(
        ("eeg",),
        f"{kind} EEG channels",
        "info" if replaced or kind in MILD else "warning",
        remedy,
        lambda f: (f[kind] > 0) & (f["flat"] < f["channels"]),
        lambda r: r[f"{kind}_channels"],
    )


def _line_noise(config: StudyConfig, mains: float) -> Rule:
    kept_out = config.eeg.high <= mains - LINE_MARGIN or config.eeg.notch == mains
    return Rule(
        ("eeg",),
        f"line noise at {mains:.0f} Hz",
        "info" if kept_out else "warning",
        f"nothing, as the band up to {config.eeg.high:g} Hz or eeg.notch={config.eeg.notch:g} removes it"
        if kept_out
        else f"set eeg.notch={mains:.0f}, or eeg.high to {mains - LINE_MARGIN:.0f} at most",
        lambda f: (f["line_noise"] >= LINE_NOISE) & (f["line_frequency"] == mains),
        lambda r: f"{r['line_noise']:.3g} times the power at neighbouring frequencies",
    )
