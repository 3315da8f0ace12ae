"""All that a report reads of a study, once: its document, results, question, explanations and what is missing.

In: a study's folder. Out: a :class:`Contents`. Nothing is computed anew: what was never run is not in it.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, replace

import pandas as pd

from eavdash.config.choices import ACROSS, STAGES
from eavdash.config.convert import recorded_config
from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError
from eavdash.explain.sums import attribution_sums
from eavdash.health.kept import KeptReport, kept
from eavdash.jobs.snapshot import snapshot
from eavdash.report.caveats import Caveats, of_study
from eavdash.results import (
    across_folds,
    agreement,
    comparisons,
    epochs,
    groups,
    inference,
    probes,
    shapley,
    study_scores,
)
from eavdash.results.columns import study_table
from eavdash.results.comparisons import Question
from eavdash.results.decisions import Decisions
from eavdash.results.reading import BASELINES
from eavdash.results.scored import Scored
from eavdash.store import StudyDir
from eavdash.store.documents import RunConfig, StudyDocument


@dataclass(frozen=True, eq=False)
class Contents:
    """A study as its report reads it; every table is made once."""

    study: StudyDir
    document: StudyDocument
    config: StudyConfig
    caveats: Caveats
    scored: Scored
    states: pd.DataFrame  # of ``jobs.snapshot``

    @functools.cached_property
    def scores(self) -> pd.DataFrame:
        """Scores per trial of all stages with finished runs, and of their baselines."""
        return self.scored.scores("trial", (), [*STAGES, *BASELINES])

    @property
    def own(self) -> pd.DataFrame:
        """The scores of the stages alone."""
        return self.scores[self.scores["stage"].isin(STAGES)]

    @functools.cached_property
    def trials(self) -> pd.DataFrame:
        """One row per test trial, stage, fold and seed."""
        return self.scored.trials([*STAGES])

    @functools.cached_property
    def decisions(self) -> Decisions:
        """The decisions of all stages; they remember what has been compared."""
        return comparisons.decisions(self.scored)

    @functools.cached_property
    def question(self) -> Question:
        """The declared question, with the interval of :attr:`inferred`, and what stands beside it."""
        asked, found = self._asked, self.inferred
        if asked.primary is None or found is None:
            return asked
        return replace(asked, primary=replace(asked.primary, low=found.low, high=found.high))

    @functools.cached_property
    def _asked(self) -> Question:
        return comparisons.ask(self.decisions, comparisons.validation_means(self.scored), self.caveats.unfinished)

    @functools.cached_property
    def inferred(self) -> inference.Inference | None:
        """The inference on the declared question; None if there is no such comparison."""
        c = self._asked.primary
        if c is None or not c.subjects:
            return None
        both = comparisons.of_both(self.decisions, "fusion", c.b)
        return inference.infer((both["a"] - both["b"]).to_numpy(float))

    @functools.cached_property
    def splits(self) -> pd.DataFrame:
        """The study's splits.csv."""
        return study_table(self.study.splits_file, ("subject", "trial", "group", "fold", "split"))

    @functools.cached_property
    def across(self) -> str:
        """The sentence of the corrected resampled t-test on a study across subjects; empty for others."""
        c = self.question.primary
        if self.config.protocol.name not in ACROSS or c is None or self.question.why_not:
            return ""
        return across_folds.sentence(across_folds.fold_test(self.trials, self.splits, "fusion", c.b))

    @functools.cached_property
    def independent(self) -> pd.DataFrame:
        """Subject, stage and n: the effective number of test trials; of the baselines too."""
        found = groups.effective_trials(self.scored.trials([*STAGES, *BASELINES]))
        return pd.DataFrame([(*key, n) for key, n in found.items()], columns=["subject", "stage", "n"])

    @functools.cached_property
    def majority(self) -> dict[str, float]:
        """Each subject's share of its most frequent test label."""
        table = self.trials.drop_duplicates(["subject", "trial"])
        counts = table.groupby(["subject", "label"]).size()
        share = counts.groupby(level="subject").max() / counts.groupby(level="subject").sum()
        return {str(subject): float(value) for subject, value in share.items()}

    @functools.cached_property
    def time_only(self) -> dict[str, float]:
        """Accuracy of guessing from a trial's position, by subject; empty if it cannot be told."""
        with contextlib.suppress(EavdashError):
            return probes.by_subject(probes.time_only(self.study))
        return {}

    @functools.cached_property
    def remarks(self) -> list[str]:
        """Sentences about the accuracies: encoders behind their baselines, test epoch, probes."""
        found = [*comparisons.behind(self.decisions)]
        found += filter(None, [epochs.gain_sentence(epochs.epoch_gain(self.study)), comparisons.uneven(self.trials)])
        return [*found, *probes.sentences(self.study)] if len(self.trials) else found

    @functools.cached_property
    def shares(self) -> pd.DataFrame:
        """Shares of the modalities in every fused decision (``results.agreement.decisions``)."""
        found = shapley.coalitions(self.study)
        keys = ["run", "subject", "trial", "class"]
        predicted = self.trials[self.trials["stage"] == "fusion"].rename(columns={"predicted": "class"})[keys]
        games = found.table.merge(predicted, on=keys)
        values = shapley.by_trial(shapley.shapley_values(games), games)
        return agreement.decisions(self.trials, values, attribution_sums(self.study).table)

    @functools.cached_property
    def runs(self) -> list[RunConfig]:
        """The configurations of the finished runs, as far as they can be read."""
        found = []
        for name in self.states.loc[self.states["shown"] == "done", "run"]:
            with contextlib.suppress(EavdashError):
                found.append(self.study.run(name).config())
        return found

    @functools.cached_property
    def health(self) -> KeptReport | None:
        """The newest check of the dataset; None if it was never checked here."""
        return kept(self.study.cache_dir, self.document.dataset.path)

    @property
    def stages(self) -> list[str]:
        """The stages with finished runs, in the order of their display."""
        return [stage for stage in STAGES if stage in {run.stage for run in self.runs}]

    @property
    def unfinished(self) -> pd.DataFrame:
        """The runs that are not done, or whose files are damaged."""
        return self.states[self.states["shown"] != "done"]

    @property
    def problems(self) -> list[str]:
        """Messages about damaged files of finished runs."""
        return self.scored.messages


def read(study: StudyDir) -> Contents:
    """Read a study.

    Raises:
        IntegrityError: study.json or the splits cannot be read.
    """
    document = study.study()
    found = Contents(
        study, document, recorded_config(document), of_study(study), study_scores.read(study), snapshot(study)
    )
    found.splits  # noqa: B018 - read now: without them there is no report
    return found
