"""Accuracy of the encoders on real recordings, compared with the baselines beside them.

``python benchmarks/real_signals.py DATA [--checkpoints DIR] [--write docs/evaluation.md]`` expects DATA/speech
(RAVDESS) and DATA/eeg (EEGMAT) with their trials.csv. It trains all missing studies with the preset quick (the
pretrained encoder of voices with the preset frozen), prints a JSON line and a table, and with ``--write`` puts the
table between the two markers of that file. Baselines are those that the runs write
(``eavdash.training.encoder_baselines``); those that do not depend on the encoder stand once.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.results.statistics import chance_line, wilson
from eavdash.results.tables import BESIDE, predictions, score_table
from eavdash.store import StudyDir, checkpoints_root, find_study

BEGIN, END = "<!-- real signals: begin -->", "<!-- real signals: end -->"


@dataclass(frozen=True)
class Experiment:
    """One study: its dataset's folder, protocol and encoder, and the scaling by person."""

    folder: str
    modality: str
    protocol: str
    encoder: str
    scaling: str = "off"

    @property
    def name(self) -> str:
        scaled = "" if self.scaling == "off" else f"-{self.scaling}"
        return f"real-{self.folder}-{self.protocol}-{self.encoder}{scaled}".replace(":", "-").lower()


def experiments() -> list[Experiment]:
    """Return the experiments that can be run; braindecode's EEGNet and the voices' encoder only if installed."""
    encoders = ["eegformer", "yin", "tangent"] + ["braindecode:EEGNet"] * bool(importlib.util.find_spec("braindecode"))
    sounds = ["ast"] + ["voice"] * bool(importlib.util.find_spec("resemblyzer"))
    speech = [Experiment("speech", "audio", p, e) for p in ("conversation", "loso") for e in sounds]
    eeg = [Experiment("eeg", "eeg", p, e) for p in ("conversation", "loso") for e in encoders]
    known = [Experiment("speech", "audio", "loso", sounds[-1], s) for s in ("calibration:4", "calibration:8", "all")]
    known += [
        Experiment("eeg", "eeg", "loso", e, s) for e in ("eegformer", "tangent") for s in ("calibration:2", "all")
    ]
    return speech + eeg + known


def train(data: Path, each: Experiment, checkpoints: Path) -> StudyDir:
    """Train the study of an experiment unless it is finished, and return it."""
    table = data / each.folder / "trials.csv"
    if each.scaling.startswith("calibration"):
        table = shuffled(table, checkpoints)
    command = [sys.executable, "-m", "eavdash", "train", str(table), "--study", each.name]
    command += ["--preset", "frozen" if each.encoder == "voice" else "quick"]
    command += ["--stages", each.modality, "--protocol", each.protocol, "--checkpoints", str(checkpoints), "--wait"]
    command += ["--set", f"{each.modality}.encoder={each.encoder}", "--set", f"protocol.subject_scaling={each.scaling}"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return find_study(checkpoints, each.name)


def shuffled(table: Path, checkpoints: Path) -> Path:
    """Return a table of the same trials, named in a random order: in the given one a person's first trials are alike.

    Calibration takes the first trials of each person.
    """
    rows = pd.read_csv(table, dtype=str).sample(frac=1, random_state=0)
    rows["trial"] = (rows.groupby("subject").cumcount() + 1).astype(str)
    for column in COLUMN.values():
        if column in rows:
            rows[column] = [str(table.parent / file) if isinstance(file, str) else file for file in rows[column]]
    made = checkpoints / ".shuffled" / f"{table.parent.name}.csv"
    made.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(made, index=False)
    return made


def summary(rows: pd.DataFrame) -> dict[str, float | int | str]:
    """Return scores over all test trials of a study, and over its subjects."""
    every = score_table(rows.assign(subject="all", trial=rows["subject"] + "/" + rows["trial"])).iloc[0]
    each = score_table(rows)["accuracy"]
    labels = rows.drop_duplicates(["subject", "trial"])["label"].value_counts(normalize=True)
    line = chance_line(int(every["n"]), len(labels), majority=float(labels.max()))
    percent = {k: round(100 * float(every[k]), 1) for k in ("accuracy", "balanced_accuracy", "macro_f1")}
    people = ", ".join(f"{100 * value:.0f}" for value in each)
    n = int(every["n"])
    low, high = wilson(round(float(every["accuracy"]) * n), n)
    return {
        **percent,
        "interval": f"{100 * low:.0f} to {100 * high:.0f}",
        "n": n,
        "chance_line": round(100 * line, 1),
        "subjects": people,
    }


def markdown(table: pd.DataFrame) -> str:
    """Return the table as Markdown."""
    heads = [
        "data",
        "protocol",
        "scaling by person",
        "model",
        "accuracy, %",
        "balanced, %",
        "macro-F1, %",
        "95 % of accuracy",
        "n",
        "chance line, %",
    ]
    lines = ["| " + " | ".join([*heads, "subjects, %"]) + " |", "|" + "---|" * (len(heads) + 1)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


def main() -> None:
    """Train, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoints")
    parser.add_argument("--write", type=Path, help="a file with the two markers")
    options = parser.parse_args()
    checkpoints = checkpoints_root(options.checkpoints)
    found: dict[tuple[str, str, str, str], dict[str, float | int | str]] = {}
    for each in experiments():
        study = train(options.data, each, checkpoints)
        tested = predictions(study, baselines=True)
        for stage in (each.modality, *BESIDE[each.modality]):
            name = each.encoder if stage == each.modality else stage
            name = f"{stage}, {each.encoder}" if stage.endswith(":linear") else name
            found.setdefault(
                (each.folder, each.protocol, each.scaling, name), summary(tested[tested["stage"] == stage])
            )
    rows = [{"data": k[0], "protocol": k[1], "scaling": k[2], "model": k[3], **v} for k, v in found.items()]
    print(json.dumps(rows))
    table = markdown(pd.DataFrame(rows))
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        options.write.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
