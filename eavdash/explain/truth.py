"""The truth of simulated recordings, what was planted in them: truth.json (:mod:`eavdash.demo`).

In: the file, and a study of the recordings. Out: which emotion each modality of a trial expresses, where and when, and
whether the file speaks of the recordings that the study was made from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.errors import IntegrityError, UsageError
from eavdash.store import StudyDir
from eavdash.store.record import read_json

TRUTH = "truth.json"


@dataclass(frozen=True)
class Planted:
    """The emotion that one modality of one trial expresses, from ``start`` to ``stop`` seconds of the trial.

    ``where`` names its places: electrodes with their band (low, high) Hz; parts of the face with their boxes (left,
    top, right, bottom) in fractions of the frame; cues of the voice with their band (Hz), None if they have no band.
    """

    emotion: str
    start: float
    stop: float
    where: dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """The content of truth.json: (subject, trial) → modality → expression, and subject → modality → reliability."""

    planted: dict[tuple[str, str], dict[str, Planted]]
    reliability: dict[str, dict[str, float]]
    seed: int = 0

    def expressed(self, subject: str, trial: str, modality: str) -> Planted | None:
        """Return what the modality shows in the trial; None if that has no place, as a neutral face and voice."""
        found = self.planted.get((subject, trial), {}).get(modality)
        return found if found is not None and found.where else None

    def is_noise(self, subject: str, modality: str) -> bool:
        """True if what the modality shows is unrelated to the label in all trials of the subject."""
        return not self.reliability[subject][modality]


def read_truth(path: Path) -> Truth:
    """Read a demo's truth.json.

    Raises:
        UsageError: there is no such file.
        IntegrityError: it is none, or of a version that does not tell where the face and the voice are.
    """
    if not path.is_file():
        remedy = "name the truth.json that eavdash make-demo wrote beside the recordings"
        raise UsageError.at(path, expected="a truth.json", found="no such file", remedy=remedy)
    try:
        content = read_json(path)
        planted = {
            (trial["subject"], trial["trial"]): {
                p["modality"]: Planted(
                    p["emotion"], float(p["start"]), float(p["stop"]), _where(p, content["places"][trial["subject"]])
                )
                for p in trial["planted"]
            }
            for trial in content["trials"]
        }
        reliability = {str(s): {m: float(r) for m, r in of.items()} for s, of in content["reliability"].items()}
        return Truth(planted, reliability, int(content.get("seed", 0)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError.at(
            path,
            expected="a truth.json with the places of what was planted",
            found=f"{type(error).__name__}: {error}",
            remedy="make the recordings again with eavdash make-demo; the same seed gives the same ones",
        ) from error


def require_truth_of(study: StudyDir, truth: Truth, path: Path, trials: Iterable[tuple[str, str]]) -> None:
    """Require that a truth speaks of these trials (subject, trial) of a study's recordings.

    Labels cannot tell, as all simulated subjects have the same; the truth.json beside the recordings can, if it is
    still there.

    Raises:
        UsageError: it lacks a trial, or the recordings have another truth.
    """
    trials = list(trials)
    if lacking := [key for key in trials if key not in truth.planted or key[0] not in truth.reliability]:
        subject, trial = lacking[0]
        raise UsageError.at(
            path,
            expected=f"what was planted in all {len(trials)} trials of {study.name}",
            found=f"nothing of {len(lacking)}, such as subject {subject}, trial {trial}",
            remedy="give the truth.json of the study's recordings",
        )
    own = Path(study.study().dataset.path) / TRUTH
    there = _expressions(own)
    if there and any(there.get(key) != _drawn(truth.planted[key]) for key in trials):
        raise UsageError.at(
            path,
            expected=f"what was planted in the recordings of {study.name}",
            found=f"that of other recordings (seed {truth.seed})",
            remedy=f"give {own}",
        )


def _drawn(planted: dict[str, Planted]) -> dict[str, tuple[str, float, float]]:
    return {modality: (each.emotion, each.start, each.stop) for modality, each in planted.items()}


def _expressions(path: Path) -> dict[tuple[str, str], dict[str, tuple[str, float, float]]]:
    """Return emotion, start and stop by (subject, trial) and modality; nothing of a file that cannot be read.

    Files of earlier versions, which lack the places, are read too.
    """
    try:
        return {
            (trial["subject"], trial["trial"]): {
                p["modality"]: (p["emotion"], float(p["start"]), float(p["stop"])) for p in trial["planted"]
            }
            for trial in read_json(path)["trials"]
        }
    except (IntegrityError, KeyError, TypeError, ValueError):
        return {}


def _where(planted: dict[str, Any], places: dict[str, Any]) -> dict[str, Any]:
    if planted["modality"] == "eeg":
        return dict(zip(planted["place"], planted["bands"], strict=True))
    if planted["modality"] == "vision":
        return {name: places[name] for name in planted["place"]}
    return {name: places.get(name) for name in planted["place"]}
