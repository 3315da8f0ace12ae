"""Mean maps of a study and their storage: arrays (.npz) and metadata (.json) in the study's folder.

In: a :class:`StudyMaps`, or the stage, method and baseline. Out: its files, or the maps. Needs neither torch nor mne.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field

from eavdash.explain.arrays import check_arrays, open_arrays, write_arrays
from eavdash.store import StudyDir
from eavdash.store.record import FIRST, FromList, Part, Record, Texts, Whole, read_record, write_record

#: ``scalp`` is ``eeg`` summed over time.
VIEWS = ("vision", "audio", "scalp", "eeg")
REMEDY = "delete the file and make the maps again: eavdash maps"
_NAN = Annotated[float, Field(default=math.nan)]


class ViewTest(Part):
    """Test of the maps of one class in one view against those of the other classes."""

    view: str
    label: str  # the class
    subjects: Whole
    trials: Whole  # of the class
    exchanged: str  # permutation.SUBJECTS or TRIALS; empty: not tested
    too_few: str = ""  # why not
    p: _NAN  # smallest corrected p of a cell
    cells: Whole = 0  # that differ, p < 0.05


class MappedTrial(Part):
    """One explained trial: what was decided, how surely, and how far its maps are from those of its class."""

    run: str
    subject: str
    trial: str
    label: str
    predicted: str  # the class that its maps explain
    p_label: float  # probability of the label
    distances: dict[str, float]  # view → typical.distances; ``all``: their mean weighted by what modalities contribute


class MapsDocument(Record):
    """The content of the .json: everything but the arrays, whose checksum it has."""

    model_config = ConfigDict(title="mean maps of a study")

    schema_version: Whole = FIRST
    stage: str
    method: str
    baseline: str
    unit: str
    classes: Texts
    subjects: Texts
    views: Texts
    channels: Texts = ()  # of the EEG, those of all subjects
    columns: dict[str, Texts] = Field(default_factory=dict)  # modality → those of its table of features
    seconds: dict[str, float] = Field(default_factory=dict)  # modality → length of a window
    sums: dict[str, float]  # modality → mean of what it adds to a decision, one vote per subject
    sizes: dict[str, float]  # modality → the same of the magnitudes
    tests: Annotated[tuple[ViewTest, ...], FromList]
    trials: Annotated[tuple[MappedTrial, ...], FromList]
    tested: Whole  # test trials of the stage, explained or not
    left_out: dict[str, Whole] = Field(default_factory=dict)  # reason → maps of trials that were not used
    models: dict[str, str]  # run → checksum of its model
    arrays: str


@dataclass(frozen=True)
class StudyMaps:
    """Mean maps of a study, S subjects and K classes.

    By view: ``sums`` (S, K, 2, ...) of normalised maps, by explained class and wrong or right, ``counts`` (S, K, 2) of
    trials, ``p`` (K, ...) corrected. ``places`` (channel, 2) in a head of radius 1, NaN for unknown channels;
    ``hertz`` of the audio's cells; ``face`` (H, W, 3) uint8, the mean crop, one vote per subject, or empty.
    """

    document: MapsDocument
    sums: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    p: dict[str, np.ndarray]
    places: np.ndarray
    hertz: np.ndarray
    face: np.ndarray

    @property
    def table(self) -> pd.DataFrame:
        """A row per explained trial, with ``distance_<view>``, ``correct`` and ``surprise`` (bits of the label)."""
        rows = pd.DataFrame([t.only("run", "subject", "trial", "label", "predicted", "p_label") for t in self.trials])
        for view in ("all", *self.document.views):
            rows[f"distance_{view}"] = [t.distances.get(view, math.nan) for t in self.trials]
        rows["correct"] = rows["label"] == rows["predicted"]
        rows["surprise"] = -np.log2(rows["p_label"].clip(lower=1e-12))
        return rows

    def difference(self, view: str, label: str) -> tuple[np.ndarray, int]:
        """Return the mean over subjects of a class's mean map minus the mean of their other classes' mean maps.

        It is what is tested; the number is that of subjects with both.
        """
        counts = self.counts[view].sum(axis=2)  # (S, K)
        sums = self.sums[view].sum(axis=2)
        shape = (*counts.shape, *[1] * (sums.ndim - 2))
        means = sums / np.maximum(counts, 1).reshape(shape)
        k = self.document.classes.index(label)
        found = []
        for mean, count in zip(means, counts > 0, strict=True):
            others = count & (np.arange(len(count)) != k)
            if count[k] and others.any():
                found.append(mean[k] - mean[others].mean(axis=0))
        return (np.mean(found, axis=0), len(found)) if found else (np.full(sums.shape[2:], np.nan), 0)

    @property
    def trials(self) -> tuple[MappedTrial, ...]:
        return self.document.trials

    def mean(
        self, view: str, label: str = "", subject: str = "", correct: bool | None = None
    ) -> tuple[np.ndarray, int]:
        """Return the mean map of a class (none: all), a subject (none: all) and an outcome, and how many trials it has.

        It is the mean over subjects of each subject's mean over trials; NaN without any trial.
        """
        k = self.document.classes.index(label) if label else slice(None)
        s = self.document.subjects.index(subject) if subject else slice(None)
        outcome = slice(None) if correct is None else int(correct)
        chosen = np.atleast_1d(np.arange(len(self.document.subjects))[s])
        ks, os = np.atleast_1d(np.arange(len(self.document.classes))[k]), np.atleast_1d(np.arange(2)[outcome])
        pick = np.ix_(chosen, ks, os)
        sums, counts = self.sums[view][pick].sum(axis=(1, 2)), self.counts[view][pick].sum(axis=(1, 2))
        some = counts > 0
        if not some.any():
            return np.full(sums.shape[1:], np.nan), 0
        shape = (-1, *[1] * (sums.ndim - 1))
        return np.asarray((sums[some] / counts[some].reshape(shape)).mean(axis=0)), int(counts.sum())


def save_maps(study: StudyDir, made: StudyMaps) -> None:
    """Write the arrays, then the metadata, which include the arrays' checksum."""
    document = made.document
    arrays_file, json_file = study.maps_files(document.stage, document.method, document.baseline)
    by_view = {f"{kind}.{view}": v for kind in ("sums", "counts", "p") for view, v in getattr(made, kind).items()}
    checksum = write_arrays(arrays_file, {"places": made.places, "hertz": made.hertz, "face": made.face, **by_view})
    write_record(json_file, document.replace(arrays=checksum))


def load_maps(study: StudyDir, stage: str, method: str, baseline: str) -> StudyMaps | None:
    """Return stored maps; None if there are none, or only those of earlier weights.

    Raises:
        IntegrityError: the files are damaged.
    """
    arrays_file, json_file = study.maps_files(stage, method, baseline)
    if not json_file.exists() or not arrays_file.exists():
        return None
    document = read_record(json_file, MapsDocument, REMEDY)
    for name, checksum in document.models.items():
        run = study.run(name)
        if not run.status_file.exists() or run.status().checksums.get("model.safetensors", checksum) != checksum:
            return None
    check_arrays(arrays_file, document.arrays, json_file, REMEDY)
    with open_arrays(arrays_file, REMEDY) as stored:
        parts = {kind: {view: stored[f"{kind}.{view}"] for view in document.views} for kind in ("sums", "counts", "p")}
        return StudyMaps(document, **parts, places=stored["places"], hertz=stored["hertz"], face=stored["face"])
