"""The comparisons that a study's results are asked for, and what may be concluded from them.

In: the :class:`~eavdash.results.decisions.Decisions` of a study, and a metric. Out: a :class:`Question`.

*Same trials on both sides*: two stages are compared on the (subject, trial, fold, seed) that both have been tested on;
a trial is averaged over its seeds first, then a subject over its trials. *One declared question*: is fusion more
accurate than the one modality with the best mean accuracy on validation trials? (Or another metric, in both places.)
Two-sided and uncorrected. All other comparisons are secondary: Holm's correction over all of them. There is no verdict
while runs are missing, without validation trials, or with fewer subjects than the test needs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.errors import EavdashError
from eavdash.results import study_scores
from eavdash.results.decisions import Decisions
from eavdash.results.metrics import METRICS, codes
from eavdash.results.paired import Comparison, compare, holm, least_subjects, too_few_subjects
from eavdash.results.reading import BASELINES, BESIDE
from eavdash.results.scored import Scored
from eavdash.store import StudyDir
from eavdash.text import plural

BEST_OF_EACH = "each subject's best"


@dataclass(frozen=True)
class Question:
    """The declared comparison of a study, and everything that stands beside it.

    ``primary``: fusion against the modality chosen on validation trials; None if none can be chosen. ``why_not``: why
    there is no verdict; empty if there is one. ``oracle``: fusion against each subject's best modality by its test
    trials, which no one can choose in advance: described, never tested. ``secondary``: corrected by Holm's method.
    """

    primary: Comparison | None
    why_not: str
    oracle: Comparison | None
    secondary: tuple[Comparison, ...]
    metric: str = "accuracy"


def ask(
    trials: pd.DataFrame | Decisions, validation: pd.Series, unfinished: str = "", metric: str = "accuracy"
) -> Question:
    """Return the study's question.

    Args:
        trials: from ``tables.trials``, with the baselines, or the decisions made of it.
        validation: mean of the metric on validation trials by modality (:func:`validation`); empty without any.
        unfinished: a sentence about the runs that are not done; empty if all are.
    """
    made = trials if isinstance(trials, Decisions) else by_stage(trials)
    singles = [m for m in MODALITIES if m in made]
    if "fusion" not in made or not singles:
        return Question(None, "", None, tuple(_corrected(_beside_encoders(made, metric))), metric)
    chosen = _chosen(made, singles, validation)
    rivals = [m for m in singles if m != chosen] + [n for n in BESIDE["fusion"] if n in made and n != "majority"]
    others = [paired(made, "fusion", name, metric) for name in rivals] + list(_beside_encoders(made, metric))
    primary = paired(made, "fusion", chosen, metric) if chosen else None
    why_not = unfinished or _too_few(primary)
    return Question(primary, why_not, _oracle(made, singles, metric), tuple(_corrected(others)), metric)


def question_of(study: StudyDir, metric: str = "accuracy") -> Question:
    """Return :func:`ask` of a study's files."""
    scored = study_scores.read(study)
    return ask(decisions(scored), validation_means(scored, metric), unfinished(study), metric)


def decisions(scored: Scored) -> Decisions:
    """Return the decisions of all stages and baselines on test trials."""
    return Decisions.of_scored(scored, scored.rows([*STAGES, *BASELINES]))


def validation(study: StudyDir, metric: str = "accuracy") -> pd.Series:
    """Return each modality's mean over the subjects' validation trials; a protocol without any: empty."""
    return validation_means(study_scores.read(study), metric)


def validation_means(scored: Scored, metric: str = "accuracy") -> pd.Series:
    """Return :func:`validation` of trials in memory."""
    found: pd.Series = scored.scores(stages=MODALITIES, part="validation").groupby("stage")[metric].mean()
    return found


def unfinished(study: StudyDir) -> str:
    """Return a sentence about the runs of a study that are not done, stage by stage; empty if all are."""
    planned: list[tuple[str, bool]] = []
    for run in study.runs():
        with contextlib.suppress(EavdashError):  # reported beside the scores
            planned.append((run.place().stage, run.status().state == "done"))
    return unfinished_sentence(planned)


def unfinished_sentence(runs: Iterable[tuple[str, bool]]) -> str:
    """Return :func:`unfinished` of the stage of each run, and if it is done."""
    planned: dict[str, list[bool]] = {}
    for stage, done in runs:
        planned.setdefault(stage, []).append(done)
    open_runs = [f"{len(d) - sum(d)} of {plural(len(d), 'run')} of {s}" for s, d in planned.items() if not all(d)]
    return f"Not done yet: {', '.join(open_runs)}. There is no verdict until all are." if open_runs else ""


def by_stage(trials: pd.DataFrame) -> Decisions:
    """Return who decided what: tested (subject, trial, fold, seed) by stage."""
    return Decisions.of_trials(trials)


def paired(made: Decisions, a: str, b: str, metric: str = "accuracy") -> Comparison:
    """Compare two stages, in a metric, on the trials that both have been tested on."""
    if (a, b, metric) in made.compared:
        return made.compared[a, b, metric]
    both, either = made.tested(a, b), made.tested(a) | made.tested(b)
    people = of_both(made, a, b, metric)
    count = made.trials(both)
    found = replace(
        compare(a, people["a"].tolist(), b, people["b"].tolist()),
        trials=count,
        trials_left_out=made.trials(either) - count,
        subjects_left_out=made.subjects(either) - len(people),
    )
    made.compared[a, b, metric] = found
    return found


def of_both(made: Decisions, a: str, b: str, metric: str = "accuracy") -> pd.DataFrame:
    """Return ``a`` and ``b``: the metric of two stages by subject, on the trials that both have been tested on."""
    both = made.tested(a, b)
    values = {"a": made.people(a, both, metric), "b": made.people(b, both, metric)}
    return pd.DataFrame(values, index=pd.Index(made.texts, name="subject")).dropna()


def encoder_comparisons(made: Decisions, metric: str = "accuracy") -> list[Comparison]:
    """Compare each encoder with the baselines beside it; those of a stage from the best to the worst."""
    return _corrected(_beside_encoders(made, metric))


def behind(trials: pd.DataFrame | Decisions, metric: str = "accuracy") -> list[str]:
    """Return a sentence for each encoder that is not clearly better than the best of its baselines.

    "Best" is chosen on the test trials, which favours the baseline: a gain over it is conservative. ``STAGE:time`` is
    left out, because it reads no recording and has a sentence of its own (:mod:`eavdash.results.probes`). A frozen
    encoder with a linear fit is its own ``STAGE:linear``, so a tie with that says nothing.
    """
    sentences = []
    seen: set[str] = set()
    made = trials if isinstance(trials, Decisions) else by_stage(trials)
    for c in encoder_comparisons(made, metric):
        itself = c.b.endswith(":linear") and c.difference == 0
        if c.a in seen or not c.subjects or c.b.endswith(":time") or itself:
            continue
        seen.add(c.a)
        few = c.subjects < least_subjects()
        if c.difference > 0 and (few or c.low > 0):
            continue
        how = "does not beat" if c.difference <= 0 else "is not clearly better than"
        interval = f"95 % interval {100 * c.low:+.1f} to {100 * c.high:+.1f}"
        said = "" if metric == "accuracy" else f", {METRICS[metric]}"
        named = "EEG" if c.a == "eeg" else c.a
        sentences.append(
            f"The {named} encoder ({100 * c.mean_a:.1f} %{said}) {how} the simple baseline {c.b} "
            f"({100 * c.mean_b:.1f} %): "
            f"{100 * c.difference:+.1f} points over {plural(c.subjects, 'subject')}, "
            f"{'too few for an interval' if few else interval}."
        )
    return sentences


def uneven(trials: pd.DataFrame) -> str:
    """Return a sentence if the stages have been tested on different subjects or trials; their means do not compare."""
    pairs = trials[["subject", "trial"]]
    items = codes(*(pd.factorize(pairs[name])[0] for name in pairs))[0]
    sets = {str(stage): np.unique(items[rows]) for stage, rows in trials.groupby("stage").indices.items()}
    if len({found.tobytes() for found in sets.values()}) < 2:
        return ""
    counts = ", ".join(f"{stage} {len(found)}" for stage, found in sets.items())
    return (
        f"The stages have been tested on different trials ({counts}), so their averages do not compare; "
        "differences on the Statistics page are over common trials."
    )


def _chosen(made: Decisions, singles: Sequence[str], validation: pd.Series) -> str:
    """Return the modality with the best mean accuracy on validation trials, among those that half of the subjects have.

    A single lucky subject must not determine it. Empty: no modality has validation trials.
    """
    people = set(np.unique(made.subject[made.tested("fusion")]))
    had = {m: len(people & set(np.unique(made.subject[made.tested(m)]))) / len(people) for m in singles}
    common = [m for m in singles if had[m] >= min(0.5, max(had.values())) and m in validation.index]
    return max(common, key=lambda m: (validation[m], -singles.index(m))) if common else ""


def _too_few(primary: Comparison | None) -> str:
    if primary is None:
        return (
            "There are no validation trials, so no modality can be chosen without looking at the test trials: "
            "the differences below describe these trials and decide nothing."
        )
    return too_few_subjects(primary.subjects)


def _oracle(made: Decisions, singles: Sequence[str], metric: str) -> Comparison:
    """Return fusion against each subject's best modality, without p: by chance alone that is mostly better."""
    fused = made.tested("fusion")
    own = made.people("fusion", fused, metric)
    each = np.stack([made.people(m, fused & made.tested(m), metric) for m in singles])
    kept = ~np.isnan(own) & ~np.isnan(each).all(axis=0)
    best = np.nanmax(each[:, kept], axis=0)
    found = compare("fusion", own[kept].tolist(), BEST_OF_EACH, best.tolist())
    return replace(found, p=math.nan, p_wilcoxon=math.nan, effect=math.nan, low=math.nan, high=math.nan)


def _beside_encoders(made: Decisions, metric: str) -> Iterator[Comparison]:
    for stage in (m for m in MODALITIES if m in made):
        mine = [paired(made, stage, name, metric) for name in BESIDE[stage] if name in made]
        # Of equal ones, first those of the recording itself, which say more than "frozen features" or a guess.
        yield from sorted(
            mine,
            key=lambda c: (-round(np.nan_to_num(c.mean_b), 12), c.b.endswith((":linear", ":time", ":majority"))),
        )


def _corrected(comparisons: Iterator[Comparison] | Sequence[Comparison]) -> list[Comparison]:
    found = list(comparisons)
    corrected = holm([c.p for c in found])
    return [replace(c, p_holm=p) for c, p in zip(found, corrected, strict=True)]
