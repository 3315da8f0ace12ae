"""How often is the noise modality's |Shapley value| the lowest? ``python benchmarks/noise_opinions.py``.

Simulated encoders of ``fusion_kinds.py``, scenario ``noise``: one of three modalities, another for each subject, says
nothing. Shapley values of the decided class are those of the fusion ``transformer`` as it begins, the weighted sum of
the encoders' calibrated opinions: as in runs of earlier versions, where the others' weights grow if a modality is
absent; with an absent modality that counts as one that says nothing; and with opinions without evidence muted besides.
What muting does to the accuracy is printed too, also where every modality says something (``weak``).
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch
from fusion_kinds import SCENARIOS, simulated
from scipy.stats import t as student
from torch import Tensor

from eavdash.training import baselines
from eavdash.training.run_context import labels_of, rows_of
from eavdash.training.start import opinion_temperatures

RULES = ("weights grow", "absence says nothing", "and opinions without evidence are muted")


def lowest(opinions: dict[str, Tensor], grows: bool) -> list[str]:
    """Return per window the modality whose |Shapley value| of the decided class is lowest; opinions: (N, K) as logs."""
    names = list(opinions)

    def worth(members: list[str]) -> Tensor:
        if not members:
            return torch.full_like(opinions[names[0]], -math.log(opinions[names[0]].shape[1]))
        total = torch.stack([opinions[m] for m in members]).sum(dim=0)
        return (total / (len(members) if grows else len(names))).log_softmax(1)

    whole = worth(names)
    decided = whole.argmax(dim=1)[:, None]
    sizes = []
    for name in names:
        one, two = (other for other in names if other != name)
        value = (worth([name]) - worth([])) / 3 + (whole - worth([one, two])) / 3
        value = value + (worth([name, one]) - worth([one])) / 6 + (worth([name, two]) - worth([two])) / 6
        sizes.append(value.gather(1, decided)[:, 0].abs())
    return [names[place] for place in torch.stack(sizes).argmin(dim=0).tolist()]


def spread(values: list[list[float]]) -> list[str]:
    """Return mean and half of the 95 % interval of each column (t over subjects)."""
    found = np.array(values)
    halves = student.ppf(0.975, len(found) - 1) * found.std(axis=0, ddof=1) / np.sqrt(len(found))
    return [f"{mean:.3f} ± {half:.3f}" for mean, half in zip(found.mean(axis=0), halves, strict=True)]


def main() -> None:
    """Print means over subjects with 95 % intervals, by scenario and training windows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=30)
    subjects = parser.parse_args().subjects
    for name, windows in ((name, windows) for name in ("noise", "weak") for windows in (60, 280)):
        scenario = SCENARIOS[name]
        rates, gains = [], []
        for subject in range(subjects):
            joined = simulated(scenario, windows, subject)
            labels = labels_of(joined.index, [f"c{k}" for k in range(scenario.classes)])
            validation, test = rows_of(joined.index, "validation"), rows_of(joined.index, "test")
            strengths = np.roll(scenario.strength, subject) if scenario.rotate else scenario.strength
            least = list(joined.logits)[int(np.argmin(strengths))]
            fitted = baselines.temperatures(joined.logits, joined.masks, labels, validation)
            plain = {m: found.temperature for m, found in fitted.items()}
            muted = opinion_temperatures(joined, labels, validation, mute=True)
            row, right = [], []
            for temperatures, grows in ((plain, True), (plain, False), (muted, False)):
                opinions = {m: (x[test].double() / temperatures[m]).log_softmax(1) for m, x in joined.logits.items()}
                row.append(float(np.mean([found == least for found in lowest(opinions, grows)])))
                decided = torch.stack(list(opinions.values())).sum(dim=0).argmax(dim=1)
                right.append(float((decided == labels[test]).double().mean()))
            rates.append(row)
            gains.append([100 * (right[2] - right[1])])
        about = f"{name}, {windows} training windows, {subjects} subjects"
        if scenario.rotate:
            cells = [f"{rule} {found}" for rule, found in zip(RULES, spread(rates), strict=True)]
            print(f"{about}: the noise is lowest: {'; '.join(cells)}")
        print(f"{about}: points of accuracy by muting: {spread(gains)[0]}")


if __name__ == "__main__":
    main()
