"""Accuracies of the kinds of fusion on simulated features of frozen encoders, with paired differences.

``python benchmarks/fusion_kinds.py FILE [--subjects 60] [--windows 60,280,2000] [--scenarios weak,...] [--minutes 15]``
appends one line per scenario, number of training windows and subject to FILE (CSV) and prints the table of all its
lines. Lines that FILE has are not computed again: stop it at any time and start it again, or give each machine its own
``--first`` subject and concatenate the files. ``--minutes 0`` only prints.

A subject has ``windows`` training windows, a third as many validation windows and 400 test windows, one per trial. A
feature is a random linear image of three things: evidence for the label (one-hot times the modality's strength, with
unit noise), a hidden bit, and noise that says nothing. An encoder has memorised its training windows, few of them more
than many: there, the label adds to the evidence. One that was ``frozen`` from the start has not. The encoder's logits
are three times the evidence, so it is overconfident. The fusions are trained by stage 2 itself, in the quick preset.

* ``weak``: five classes, each modality alone right in about 40, 80 and 47 % of new windows,
* ``noise``: five classes, one modality (another for each subject) says nothing, the others are right in about 65 %,
* ``pair``: two classes; the label is whether the hidden bits of vision and audio differ, EEG alone is right in 65 %,
* ``pair-frozen`` and ``weak-frozen``: the same as ``pair`` and ``weak`` with frozen encoders.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student

from eavdash.config import schema as cfg
from eavdash.config.choices import FUSIONS, MODALITIES
from eavdash.config.convert import to_dict
from eavdash.config.presets import preset
from eavdash.models.seeds import reproducible
from eavdash.results.paired import compare, holm
from eavdash.store import StudyDir
from eavdash.store.documents import RunConfig
from eavdash.training import baselines, evaluate, stage2
from eavdash.training.fusion_features import FeatureSource, FusionFeatures
from eavdash.training.reliability import reliability
from eavdash.training.run_context import RunContext, labels_of, rows_of

TESTED, NUISANCES, OVERCONFIDENCE = 400, 8, 3.0
TOKENS = {"vision": (5, 64), "audio": (1, 64), "eeg": (1, 32)}  # of the quick preset's encoders
MEMORY = 2.0  # added evidence in 60 training windows; it falls with the root of their number
KEYS = ["scenario", "windows", "subject"]
WITHOUT_TRAINING = ("best", "mean", "calibrated")
DEFAULT = preset("quick").fusion.kind


@dataclass(frozen=True)
class Scenario:
    """What the modalities tell."""

    classes: int
    strength: tuple[float, float, float]  # of vision, audio and EEG
    pair: bool = False  # the label is the XOR of vision's and audio's hidden bit
    rotate: bool = False  # the strengths move by one modality from subject to subject
    frozen: bool = False


SCENARIOS = {
    "weak": Scenario(5, (0.95, 2.45, 1.2)),
    "noise": Scenario(5, (1.8, 1.8, 0.0), rotate=True),
    "pair": Scenario(2, (0.0, 0.0, 0.55), pair=True),
    "weak-frozen": Scenario(5, (0.95, 2.45, 1.2), frozen=True),
    "pair-frozen": Scenario(2, (0.0, 0.0, 0.55), pair=True, frozen=True),
}


def simulated(scenario: Scenario, windows: int, subject: int) -> FusionFeatures:
    """Draw a subject's features and logits."""
    random = np.random.default_rng([subject, windows, scenario.classes, scenario.pair])
    split = np.repeat(["train", "validation", "test"], [windows, windows // 3, TESTED])
    bits = random.integers(0, 2, (2, len(split)))
    label = bits[0] ^ bits[1] if scenario.pair else random.permutation(np.arange(len(split)) % scenario.classes)
    index = pd.DataFrame({"subject": str(subject), "trial": [f"{i}" for i in range(len(split))], "group": "0"})
    index = index.assign(label=[f"c{k}" for k in label], window=0, split=split, place=index.index)
    truth = np.eye(scenario.classes)[label]
    memory = 0.0 if scenario.frozen else MEMORY * np.sqrt(60 / windows)
    memorised = truth * (memory * (split == "train"))[:, None]
    strengths = np.roll(scenario.strength, subject) if scenario.rotate else np.array(scenario.strength)
    tokens, masks, logits = {}, {}, {}
    for name, strength in zip(MODALITIES, strengths, strict=True):
        count, width = TOKENS[name]
        own = bits[MODALITIES.index(name)] if scenario.pair and name != "eeg" else random.integers(0, 2, len(split))
        evidence = strength * truth + memorised + random.normal(size=truth.shape)
        hidden = 2.0 * (2 * own - 1) + random.normal(size=len(split))
        content = np.column_stack([evidence, hidden, random.normal(size=(len(split), NUISANCES))])
        mixed = content @ (random.normal(size=(content.shape[1], width)) / np.sqrt(width))
        drawn = mixed[:, None] + random.normal(0, 0.1, (len(split), count, width))
        tokens[name] = torch.tensor(drawn, dtype=torch.float32)
        masks[name] = torch.ones(drawn.shape[:2], dtype=torch.bool)
        logits[name] = torch.tensor(OVERCONFIDENCE * evidence, dtype=torch.float32)
    return FusionFeatures(index, tokens, masks, logits)


def measure(scenario: str, windows: int, subject: int, folder: Path) -> dict[str, float]:
    """Train all kinds of fusion for a subject; return accuracies of test windows by name."""
    rules, joined = SCENARIOS[scenario], simulated(SCENARIOS[scenario], windows, subject)
    classes = [f"c{k}" for k in range(rules.classes)]
    config: cfg.StudyConfig = preset("quick")
    run = StudyDir(folder).run("s01-fusion")
    fields = {"study": folder.name, "run": run.name, "unit": "s01", "stage": "fusion", "fold": 0, "seed": subject}
    info = RunConfig.model_validate({**fields, "subject": "1", "classes": classes, "config": to_dict(config)})
    context = RunContext(run, info, config, joined.index, torch.device("cpu"))
    labels = labels_of(joined.index, classes)
    train, validation, test = (rows_of(joined.index, s) for s in ("train", "validation", "test"))
    found = {m: evaluate.Predictions(x.double().softmax(1).numpy()) for m, x in joined.logits.items()}
    rates = {m: reliability(evaluate.table(joined.index, p, classes, 0, 0), classes) for m, p in found.items()}
    replaced = {m: rate.replaced for m, rate in rates.items()}
    given = joined.logits, joined.masks
    ranking = baselines.rank(*given, labels, train, validation)
    found["best"] = baselines.best_single(*given, ranking.order)
    found["mean"] = baselines.mean_of_modalities(*given)
    fitted = baselines.temperatures(*given, labels, validation)
    found["calibrated"] = baselines.calibrated_mean(*given, fitted)
    source = FeatureSource(joined, labels, train, replaced, context.device)
    with reproducible(context.device, 1):
        for kind in FUSIONS:
            changed = replace(context, config=replace(config, fusion=replace(config.fusion, kind="attention")))
            found[kind] = stage2._trained(changed, kind, source, train)
    return {name: float((p.windows[test].argmax(1) == labels[test].numpy()).mean()) for name, p in found.items()}


def summary(table: pd.DataFrame) -> str:
    """Return the Markdown table of means, and of the differences from the preset's kind with 95 % intervals."""
    lines = []
    rivals = [*(k for k in FUSIONS if k != DEFAULT), *WITHOUT_TRAINING]
    for (scenario, windows), rows in table.groupby(["scenario", "windows"], sort=False):
        pairs = [compare(k, rows[k].tolist(), DEFAULT, rows[DEFAULT].tolist()) for k in rivals]
        corrected = holm([c.p for c in pairs])
        cells = [f"{100 * rows[DEFAULT].mean():.1f}"]
        for name, pair, p in zip(rivals, pairs, corrected, strict=True):
            gap = 100 * (rows[name] - rows[DEFAULT])
            half = student.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
            cells.append(f"{100 * pair.mean_a:.1f} ({gap.mean():+.1f} ± {half:.1f}{'*' if p < 0.05 else ''})")
        alone = ", ".join(f"{100 * rows[m].mean():.0f}" for m in MODALITIES)
        lines.append(f"| {scenario} | {windows} | {len(rows)} | {alone} | {' | '.join(cells)} |")
    head = ["scenario", "training windows", "n", "vision, audio, EEG", DEFAULT, *rivals]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines])


def main() -> None:
    """Compute missing lines until the time is over, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--subjects", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--windows", default="60,280,2000")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--minutes", type=float, default=15.0)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    wanted = [
        (scenario, int(windows), subject)
        for subject in range(options.first, options.first + options.subjects)
        for windows in options.windows.split(",")
        for scenario in options.scenarios.split(",")
    ]
    made = pd.read_csv(options.file) if options.file.exists() else pd.DataFrame(columns=KEYS)
    known = set(made[KEYS].itertuples(index=False, name=None))
    for key in wanted:
        if time.monotonic() >= end:
            break
        if key in known:
            continue
        line = pd.DataFrame([{**dict(zip(KEYS, key, strict=True)), **measure(*key, options.file.parent)}])
        line.to_csv(options.file, mode="a", header=not options.file.exists(), index=False)
    made = pd.read_csv(options.file)
    made["scenario"] = pd.Categorical(made["scenario"], list(SCENARIOS))
    print(summary(made.sort_values(["scenario", "windows"])))


if __name__ == "__main__":
    main()
