"""Do explanations find what the demo planted? The pointing game on the test trials that the model decides right.

    eavdash make-demo demo-data
    eavdash train demo-data/EAV/EAV --study demo --folds 0 --wait
    python benchmarks/planted.py demo

For each method and baseline it prints how often the highest attribution lies where the recordings' truth.json says that
the decided emotion is (:mod:`eavdash.explain.pointing`), with Wilson's interval, chance, and the same of a control that
knows no model: the distance of the input from the baseline. A modality counts in a trial if it is no noise in that
subject and expresses the decided emotion in that trial. Explanations that are stored are not computed again, so an
interrupted benchmark continues; ``--trials N`` takes the first N of each subject, ``--steps N`` computes faster than
completeness asks for.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from eavdash.config.convert import recorded_config
from eavdash.config.schema import VisionConfig
from eavdash.data.segments import segment
from eavdash.data.video.crops import crop_boxes
from eavdash.explain.baselines import BASELINES, kind_for
from eavdash.explain.explanation import Explanation, explanation_name, load_explanation
from eavdash.explain.fused import FusedModel, encoder_runs, load_fused_model
from eavdash.explain.pointing import Axes, Pointing, Truth, by_frequency, point, point_frequency, read_truth, table
from eavdash.explain.recordings import trial_row
from eavdash.explain.training_windows import TrainingWindows, training_windows
from eavdash.explain.trial import explain_trial
from eavdash.models.base import to_encoder_input
from eavdash.results import tables
from eavdash.store import RunDir, StudyDir, checkpoints_root, find_study

CPU = torch.device("cpu")
NOWHERE = np.zeros((0, 0, 4))


def differences(model: FusedModel, trained: TrainingWindows | None, made: Explanation, modality: str) -> np.ndarray:
    """Return the trial's encoder input minus each of its D baselines: (W, D, ...)."""
    x = to_encoder_input(modality, torch.from_numpy(made.inputs[modality]))
    mean = model.baseline(modality, x)
    if trained is None:
        return (x - mean)[:, None].numpy()
    return (x[:, None] - trained.baseline(modality, mean[:1])).numpy()


@lru_cache(maxsize=3)
def drawn_windows(study: StudyDir, run: str, modality: str) -> TrainingWindows:
    return training_windows(study, study.run(run), (modality,), CPU)


def boxes(study: StudyDir, made: Explanation, vision: VisionConfig) -> np.ndarray:
    """Return where in the frame the pictures of a trial are: (W, F, 4), NaN where none was recorded."""
    times = made.times["vision"]
    found, known = np.full((*times.shape, 4), np.nan), np.isfinite(times)
    row = trial_row(study, recorded_config(study.run(made.run).config()), made.subject, made.trial).iloc[0]
    start = segment(row, "video")[0] or 0.0
    found[known] = crop_boxes(str(row["video"]), [start + time for time in times[known].tolist()], vision)
    return found


def pointings(study: StudyDir, run: RunDir, made: Explanation, truth: Truth) -> Iterator[tuple[Pointing, Pointing]]:
    """Yield every measure of one explanation, and the same of its control."""
    model = load_fused_model(study, run, CPU, made.subject)
    vision = encoder_runs(study, run).get("vision")
    for modality, values in made.attributions.items():
        planted = truth.evidence(made.subject, made.trial, modality, made.target)
        if planted is None:
            continue
        mean = kind_for(modality, made.baseline) == "mean"
        trained = None if mean else drawn_windows(study, run.name, modality)
        difference = differences(model, trained, made, modality)
        distance = np.abs(difference).mean(axis=1)
        axes = Axes(
            made.times[modality],
            made.channels,
            made.frequencies.get(modality, np.zeros(0)),
            boxes(study, made, recorded_config(vision.config()).vision) if modality == "vision" and vision else NOWHERE,
        )
        control = distance.sum(axis=2) if modality == "vision" else distance
        yield from zip(point(modality, values, axes, planted), point(modality, control, axes, planted), strict=True)
        if modality == "eeg" and mean:
            d = difference[:, 0]
            cells = (by_frequency(each, d, made.rate) for each in (values, d * d))
            first, second = (point_frequency(each, made.channels, planted) for each in cells)
            yield first, second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--truth", type=Path, help="instead of the truth.json beside the recordings")
    parser.add_argument("--baselines", default="mean,training", help="of mean, training, mixed (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=1000, help="at most so many of each subject")
    parser.add_argument("--steps", type=int, default=0, help="points of the quadrature on each path (0: adaptive)")
    parser.add_argument("--checkpoints")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = find_study(checkpoints_root(options.checkpoints), options.study)
    truth = read_truth(options.truth or Path(study.study().dataset.path) / "truth.json")
    decided = tables.trials(study, ["fusion"])
    right = decided[decided["predicted"] == decided["label"]]
    chosen = right.groupby("subject", sort=False).head(options.trials)
    print(f"{len(right)} of {len(decided)} test trials are decided right; {len(chosen)} of them are explained.\n")
    print("| method, baseline | modality | measure | hits | share (95 %) | chance | control |")
    print("|---|---|---|---|---|---|---|")
    methods = {baseline: method for method, offered in BASELINES.items() for baseline in offered}
    for baseline in options.baselines.split(","):
        found: list[tuple[Pointing, Pointing]] = []
        for row in chosen.itertuples():
            run, method = study.run(row.run), methods[baseline]
            name = explanation_name(run, row.subject, row.trial)
            made = load_explanation(run, name, method, row.label, "", baseline) or explain_trial(
                study, row.subject, row.trial, method=method, baseline=baseline, steps=options.steps
            )
            found += pointings(study, run, made, truth)
        for row in table([p for p, _ in found], [c for _, c in found]).itertuples():
            print(
                f"| {methods[baseline].replace('_', ' ')}, {baseline} | {row.modality} | {row.measure} | "
                f"{row.hits}/{row.n} | {row.share:.2f} ({row.low:.2f} to {row.high:.2f}) | {row.chance:.2f} | "
                f"{row.control:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
