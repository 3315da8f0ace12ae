"""The decision on a trial, had it been recorded otherwise: one counterfactual, before and after.

In: a study, a test trial and changes of its windows (changes/). Out: :class:`~eavdash.explain.whatif_record.WhatIf`:
probabilities, attention shares and Shapley values with the recordings as they are and as they are changed. Only the
encoders of changed modalities run again; the others' features are kept by :class:`TrialSession`. Nothing is written
but the cache of windows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from eavdash.errors import UsageError
from eavdash.explain.changes.base import Change, name_of
from eavdash.explain.changes.swap import Swap
from eavdash.explain.choose import testing_run
from eavdash.explain.devices import device_of
from eavdash.explain.fused import FusedModel, load_fused_model
from eavdash.explain.game import Encoded
from eavdash.explain.outcome import outcome
from eavdash.explain.reproduction import reproduction
from eavdash.explain.training_means import training_means
from eavdash.explain.trial_encoder import TrialEncoder
from eavdash.explain.whatif_record import ChangeMade, Outcome, WhatIf
from eavdash.models.absence import needs_means
from eavdash.models.seeds import reproducible
from eavdash.store import RunDir, StudyDir

_COLUMNS = ["subject", "trial", "label", "split", "frame"]


def what_if(
    study: StudyDir,
    subject: str,
    trial: str,
    changes: Sequence[Change],
    *,
    fold: int | None = None,
    seed: int | None = None,
    stage: str = "",
    device: str = "cpu",
) -> WhatIf:
    """Return what the (first) run that tested a trial decides before and after the changes.

    Raises:
        UsageError: no finished run has tested the trial, or the changes do not fit its recordings.
        EavdashError: the run's files are damaged, or the recordings cannot be read.
    """
    run = testing_run(study, subject, trial, fold, seed, stage)
    return TrialSession(study, run, subject, trial, device).ask(changes)


class TrialSession:
    """One trial, the model of a run that tested it, and the features of what was asked before.

    ``model``: that of :func:`load_fused_model` for the subject, if it is loaded already.
    """

    def __init__(
        self,
        study: StudyDir,
        run: RunDir,
        subject: str,
        trial: str,
        device: str = "cpu",
        model: FusedModel | None = None,
    ) -> None:
        self.study, self.run, self.subject, self.trial = study, run, subject, trial
        self.device = device_of(device)
        self.info = run.config()
        self.model = model or load_fused_model(study, run, self.device, subject)
        self.encoder = TrialEncoder(study, run, subject, trial, self.model, self.device)
        self.spans = self.encoder.spans

    def ask(self, changes: Sequence[Change]) -> WhatIf:
        """Return the decision before and after the changes.

        Raises:
            UsageError: there are none, or they do not fit the recordings.
        """
        began = time.monotonic()
        self._check(changes)
        with reproducible(self.device, threads=1), torch.no_grad():
            before = self.encoder.encoded()
            first, reproduced = self._before
            self.encoder.ran.clear()
            after = self.encoder.encoded(changes)
            lost = [n for n, some in zip(self.spans, _any_present(after), strict=True) if not some]
            if len(lost) == len(self.spans):
                raise UsageError.at(
                    self._where,
                    expected="changes that leave a modality to decide from",
                    found="none in any window",
                    remedy="leave one of them out",
                )
            second = outcome(self, before, after, first.predicted)
        return WhatIf(
            study=self.study.name,
            run=self.run.name,
            stage=self.info.stage,
            subject=self.subject,
            trial=self.trial,
            label=str(self.encoder.row["label"].iloc[0]),
            classes=self.info.classes,
            modalities=self.model.modalities,
            target=first.predicted,
            changes=tuple(_made(change) for change in changes),
            before=first,
            after=second,
            encoders_run=tuple(self.encoder.ran),
            notes=self._notes(changes, lost),
            reproduction=reproduced,
            seconds=round(time.monotonic() - began, 3),
        )

    @cached_property
    def shares(self) -> np.ndarray:
        """Shares of the classes (K,) among the run's training trials."""
        rows = self._rows[self._rows["split"] == "train"].drop_duplicates(["subject", "trial"])
        found = rows["label"].value_counts(normalize=True).reindex(list(self.info.classes), fill_value=0.0)
        return found.to_numpy(dtype=np.float64)

    @cached_property
    def means(self) -> dict[str, torch.Tensor]:
        """Mean tokens of the training windows, if the fusion needs them for absent modalities."""
        if self.model.fusion is None or not needs_means(self.model.fusion):
            return {}
        return training_means(self.study, self.run, self.model, self.device)

    @cached_property
    def _before(self) -> tuple[Outcome, float | None]:
        """The decision from the recordings as they are, and how far it is from the run's predictions."""
        encoded = self.encoder.encoded()
        found = outcome(self, encoded, encoded)
        return found, self._reproduction(found)

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """The windows among the run's predictions."""
        frame = pd.read_parquet(self.run.verify("predictions.parquet"), columns=_COLUMNS)
        return frame[frame["frame"] == -1]

    @property
    def _where(self) -> str:
        return f"trial {self.trial} of subject {self.subject}"

    def _check(self, changes: Sequence[Change]) -> None:
        for change in changes:
            name = name_of(change.modality)
            if change.modality not in self.model.modalities:
                used = ", ".join(map(name_of, self.model.modalities))
                found = f"--{change.option} {change.argument}"
                remedy = "change one of those, or choose another stage"
                raise UsageError.at(self.run.name, expected=f"changes of {used}", found=found, remedy=remedy)
            if isinstance(change, Swap) and (change.trial, change.subject or self.subject) == (
                self.trial,
                self.subject,
            ):
                found, remedy = f"--{change.option} {change.argument}", "choose another trial"
                raise UsageError.at(self._where, expected="a swap with another trial", found=found, remedy=remedy)
            if change.modality not in self.encoder.sets and not isinstance(change, Swap):
                expected = f"a recording of {name} to change"
                raise UsageError.at(self._where, expected=expected, found="none", remedy="swap in another trial's")

    def _notes(self, changes: Sequence[Change], lost: Sequence[int]) -> tuple[str, ...]:
        notes = []
        for change in changes:
            if isinstance(change, Swap):
                subject = change.subject or self.subject
                here = (self._rows["subject"] == subject) & (self._rows["trial"] == change.trial)
                if "train" in set(self._rows.loc[here, "split"]):
                    notes.append(f"The run was trained on trial {change.trial} of subject {subject}.")
        if lost:
            which = ", ".join(str(n + 1) for n in lost)
            notes.append(f"Nothing is left in window {which}, which the decision after the changes leaves out.")
        return tuple(notes)

    def _reproduction(self, found: Outcome) -> float | None:
        stage, classes = self.info.stage, self.info.classes
        own = [[w.probabilities[stage][c] for c in classes] for w in found.windows if stage in w.probabilities]
        numbers = [w.window for w in found.windows if stage in w.probabilities]
        return reproduction(self.run, self.subject, self.trial, classes, numbers, np.array(own))


def _any_present(encoded: Mapping[str, Encoded]) -> list[bool]:
    return [bool(each) for each in torch.stack([part.present for part in encoded.values()]).any(dim=0).tolist()]


def _made(change: Change) -> ChangeMade:
    fields = ("option", "argument", "modality", "words", "definition")
    return ChangeMade(**{name: getattr(change, name) for name in fields})
