"""A trial's recordings as encoders' features, as they are and under changes; what was asked before is kept.

In: a study, a run, a trial of the study and changes of its windows (changes/). Out: by modality,
:class:`~eavdash.explain.game.Encoded`. Only encoders of changed modalities run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
import torch

from eavdash.config.choices import COLUMN
from eavdash.config.convert import recorded_config
from eavdash.config.schema import StudyConfig
from eavdash.data.standardise import raw_values, standardise
from eavdash.data.windows import WindowSet
from eavdash.errors import TableError, UsageError
from eavdash.explain.changes.base import Change, name_of
from eavdash.explain.changes.cover import Cover
from eavdash.explain.changes.drop import Drop
from eavdash.explain.changes.swap import Swap
from eavdash.explain.fused import FusedModel, encoder_runs
from eavdash.explain.game import Encoded
from eavdash.explain.recordings import encoder_input, encoder_windows, trial_row, window_sets
from eavdash.models.base import Encoder
from eavdash.models.people import read_people
from eavdash.models.seeds import seeder
from eavdash.store import RunDir, StudyDir

_BATCH = 8  # windows at once
_KEPT = 24  # encoded modalities


class TrialEncoder:
    """The encoders of a run on one trial.

    ``sets``: its windows in each recorded modality; ``spans``: start and stop (seconds) of each window by its number;
    ``ran``: modalities whose encoder has run, in order.
    """

    def __init__(
        self, study: StudyDir, run: RunDir, subject: str, trial: str, model: FusedModel, device: torch.device
    ) -> None:
        self.study, self.run, self.subject, self.trial = study, run, subject, trial
        self.model, self.device = model, device
        self.info = run.config()
        self.row = trial_row(study, recorded_config(self.info), subject, trial)
        self.sets = window_sets(study, run, self.row)
        every = pd.concat([s.index[["window", "start", "stop"]] for s in self.sets.values()])
        spans = every.astype({"window": int}).groupby("window").agg({"start": "min", "stop": "max"}).sort_index()
        self.spans = {int(str(n)): (float(a), float(b)) for n, a, b in spans.itertuples(name=None)}
        self.ran: list[str] = []
        self._encoded: OrderedDict[tuple[str, ...], Encoded] = OrderedDict()

    def encoded(self, changes: Sequence[Change] = ()) -> dict[str, Encoded]:
        """Return every modality of the trial's windows; those with changes are encoded again unless they are kept."""
        placed = [self._placed(change) for change in changes]
        return {m: self._of(m, [c for c in placed if c.modality == m]) for m in self.model.modalities}

    def _placed(self, change: Change) -> Change:
        if not isinstance(change, Cover):
            return change
        vision = recorded_config(encoder_runs(self.study, self.run)["vision"].config()).vision
        return change.placed(vision.crop, vision.margin)

    def _of(self, modality: str, changes: Sequence[Change]) -> Encoded:
        """Return a modality under its changes."""
        key = (modality, *(f"{c.option} {c.argument}" for c in changes))
        if key not in self._encoded:
            self._encoded[key] = self._compute(modality, changes)
            while len(self._encoded) > _KEPT:
                changed = next(each for each in self._encoded if len(each) > 1)  # the trial as it is stays
                del self._encoded[changed]
        self._encoded.move_to_end(key)
        return self._encoded[key]

    def _compute(self, modality: str, changes: Sequence[Change]) -> Encoded:
        if changes and isinstance(changes[0], Drop):
            found = self._of(modality, ())
            return replace(found, mask=torch.zeros_like(found.mask))
        windows, subject = self.sets.get(modality), self.subject
        for change in changes:
            if isinstance(change, Swap):
                subject = change.subject or self.subject
                windows = change.taken(self._other(change), set(self.spans))
            if windows is not None and len(windows):
                windows = _changed(windows, change, self._random(change))
        if windows is None or not len(windows):
            return self._absent(modality)
        return self._encode(windows, subject)

    def _other(self, swap: Swap) -> WindowSet:
        """Return the windows of the other trial in the swapped modality."""
        subject = swap.subject or self.subject
        where = f"--swap {swap.argument}"
        row = _row_of(self.study, recorded_config(self.info), subject, swap.trial, where)
        if row[COLUMN[swap.modality]].iloc[0] == "":
            expected = f"a trial with {name_of(swap.modality)}"
            raise UsageError.at(where, expected=expected, found="one without it", remedy="choose another trial")
        return encoder_windows(self.study, encoder_runs(self.study, self.run)[swap.modality], row)

    def _random(self, change: Change) -> np.random.Generator:
        derive = seeder(self.info.seed, self.info.fold, self.info.stage)
        return np.random.default_rng(derive("what-if", self.subject, self.trial, change.option, change.argument))

    def _encode(self, windows: WindowSet, subject: str) -> Encoded:
        """Run the encoder of a modality on windows of a subject."""
        name = windows.modality
        self.ran.append(name)
        person = None
        if subject != self.subject:
            person = read_people(encoder_runs(self.study, self.run)[name]).of(subject)
        parts = []
        for first in range(0, len(windows), _BATCH):
            x, mask = encoder_input(windows, slice(first, first + _BATCH), self.device)
            parts.append(self.model.encode(name, x, mask, person))
        at = {number: place for place, number in enumerate(self.spans)}
        places = torch.tensor([at[int(n)] for n in windows.index["window"]], device=self.device)

        def scattered(kind: str) -> torch.Tensor:
            values = torch.cat([getattr(part, kind) for part in parts])
            out = values.new_zeros(len(self.spans), *values.shape[1:])
            out[places] = values
            return out

        return Encoded(scattered("tokens"), scattered("mask"), scattered("logits"))

    def _absent(self, modality: str) -> Encoded:
        count, width = len(self.spans), cast(Encoder, self.model.encoders[modality]).feature_dim
        tokens = torch.zeros(count, 1, width, device=self.device)
        logits = torch.zeros(count, len(self.info.classes), device=self.device)
        return Encoded(tokens, torch.zeros(count, 1, dtype=torch.bool, device=self.device), logits)


def _changed(windows: WindowSet, change: Change, random: np.random.Generator) -> WindowSet:
    """Return the windows with a change of the values before scaling by person, and the same scaling after it."""
    statistics = windows.meta.get("subject_scaling")
    changed = change.apply(replace(windows, values=np.asarray(raw_values(windows))), random)
    return standardise(changed, statistics) if statistics else changed


def _row_of(study: StudyDir, config: StudyConfig, subject: str, trial: str, where: str) -> pd.DataFrame:
    """Return the row of a trial that a user named.

    Raises:
        UsageError: the study has no such trial.
    """
    try:
        return trial_row(study, config, subject, trial)
    except TableError as error:
        remedy = f"choose one of eavdash results {study.name} --trials"
        expected = f"a trial of study {study.name}"
        raise UsageError.at(
            where, expected=expected, found=f"none {trial} of subject {subject}", remedy=remedy
        ) from error
