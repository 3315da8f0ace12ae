"""Windows made before training: the very ones that training asks for, sized first, going on after a stop."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from made_media import mat, sine, wav

from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.schema import Selection, StudyConfig
from eavdash.data import readers
from eavdash.data.cache import folders as cache_module
from eavdash.data.cache.prepare import Estimate, estimate, prepare, sets
from eavdash.errors import DataError, RecordingError, SplitError
from eavdash.store.processes import pool as process_pool
from eavdash.studies.write import prepare as write_study
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, read_windows

SETTINGS = (
    "window=1",
    "stages=audio,eeg,fusion",
    *("audio.mels=64", "audio.width=16", "audio.depth=1"),
    *("eeg.width=16", "eeg.filters=4", "eeg.segments=4", "fusion.width=16"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four subjects with sounds and EEG; subject 2 has no EEG, subject 4 lacks a file that the table names."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for subject in range(1, 5):
        rng = np.random.default_rng(subject)
        mat(folder / f"{subject}.mat", rng.normal(0, 10, (1000, 30, 12)).astype("float32"))
        for n in range(1, 13):
            name = f"{subject}-{n}.wav"
            if (subject, n) != (4, 5):
                wav(folder / name, sine(200 + 50 * n + subject, 1.0 + n % 2, 16000, 0.2))
            labels = {"label": "ab"[n % 2], "group": f"g{(n - 1) // 3}"}
            eeg = "" if subject == 2 else f"{subject}.mat#{n}"
            rows.append({"subject": subject, "trial": n, **labels, "audio": name, "eeg": eeg})
    pd.DataFrame(rows).to_csv(folder / "trials.csv", index=False)
    return folder


@pytest.fixture
def reads(monkeypatch) -> list[tuple[str, str, str]]:
    """Modality, subject and trial of every reading."""
    names: list[tuple[str, str, str]] = []

    def counted(real):
        def read(self, row, spans):
            names.append((self.modality, row.subject, row.trial))
            return real(self, row, spans)

        return read

    for reader in readers.READERS.values():
        monkeypatch.setattr(reader, "read", counted(reader.read))
    return names


def _config(protocol: str = "conversation", *more: str) -> StudyConfig:
    return with_epochs(with_settings(StudyConfig(), [*SETTINGS, f"protocol.name={protocol}", *more]), 1)


@pytest.mark.parametrize(
    ("protocol", "units", "scaling"),
    [
        ("conversation", ["1", "2", "3"], "off"),
        ("paper", ["1", "2", "3"], "off"),
        ("loso", [""], "off"),
        ("subject-kfold", [""], "off"),
        ("loso", [""], "calibration:2"),
    ],
)
def test_a_prepared_study_reads_nothing(
    root: Path, tmp_path: Path, reads: list[tuple[str, str, str]], protocol: str, units: list[str], scaling: str
) -> None:
    config, checkpoints = _config(protocol, f"protocol.subject_scaling={scaling}"), tmp_path / "checkpoints"
    planned, problems = sets(root, config)
    assert list(problems) == ["4"]
    assert list(dict.fromkeys(each.subject for each in planned)) == units
    prepare(planned, config, checkpoints / ".cache")
    assert len(reads) == len(set(reads)) == 36 + 24, "each recording once"
    reads.clear()
    # Of subject 4, planning would leave out the trials whose file is missing, and use the others.
    plan = write_study(root, "s", config, Selection(("1", "2", "3")), checkpoints)
    made = {path.name for path in (checkpoints / ".cache" / "windows").iterdir()}
    asked = set()
    for name in plan.runs:
        run = plan.study.run(name)
        if run.status().state != "queued":
            continue
        job = open_run_context(run, torch.device("cpu"))
        for modality in config.modalities if job.stage == "fusion" else [job.stage]:
            if job.stage != "fusion" or modality in job.info.parents:
                windows = read_windows(job, modality)
                assert windows is not None
                asked.add(windows.values.meta["key"].partition("-")[0])
    assert reads == []
    assert asked == made


def test_training_itself_reads_nothing(root: Path, tmp_path: Path, reads: list[tuple[str, str, str]]) -> None:
    config, checkpoints = _config("conversation", "stages=audio"), tmp_path / "checkpoints"
    prepare(sets(root, config, ["3"])[0], config, checkpoints / ".cache")
    assert len(reads) == 12
    plan = write_study(root, "s", config, Selection(("3",), folds=(1,)), checkpoints)
    assert train_run(plan.study.run("s03-audio"))
    assert len(reads) == 12


def test_the_estimate_matches_the_disk_space_used(root: Path, tmp_path: Path) -> None:
    config, cache = _config(), tmp_path / "cache"
    planned, _ = sets(root, config)
    before = estimate(planned, config, cache)
    assert (before.missing_sets, before.sets) == (5, 5)
    assert "5 of 5 window sets are not in the cache" in before.sentence
    assert not (cache / "windows").exists()
    reports: list[tuple[int, int, str]] = []
    took = prepare(planned, config, cache, report=lambda *done: reports.append(done))
    assert took.bytes_needed == before.bytes_needed
    arrays = list((cache / "windows").glob("*/*.npy"))
    assert sum(file.stat().st_size for file in arrays) == before.bytes_needed + 128 * len(arrays)
    assert before.windows == sum(len(np.load(file)) for file in arrays if file.name == "mask.npy")
    assert reports[-1][:2] == (60, 60)
    assert [r[0] for r in reports if r[2] != "checking the recordings"] == list(range(1, 61))
    assert "eeg of subject 3" in {r[2] for r in reports}
    after = estimate(planned, config, cache)
    assert (after.bytes_needed, after.missing_sets, after.windows) == (0, 0, 0)
    assert after.sentence == "all 5 window sets are in the cache"


def test_the_sentence() -> None:
    assert Estimate(3_100_000_000, 80_000_000_000, 12_000, 3, 4).sentence == (
        "needs 3.1 GB, 80 GB free: 3 of 4 window sets are not in the cache, 12000 windows"
    )


def test_a_disk_that_is_too_small_for_all_is_refused_before_the_first(root: Path, tmp_path: Path, monkeypatch) -> None:
    config, cache = _config(), tmp_path / "cache"
    planned, _ = sets(root, config)
    needed = estimate(planned, config, cache).bytes_needed
    usage = shutil.disk_usage(tmp_path)

    def free(count: float) -> None:
        monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage._replace(free=int(count)))

    free(needed * 1.05 + 100e6 - 1000)
    with fails(DataError, expected="free disk space", found=" MB", remedy="eavdash cache clear"):
        prepare(planned, config, cache)
    assert not (cache / "windows").exists()
    free(needed * 1.05 + 100e6 + 1000)
    assert prepare(planned, config, cache).missing_sets == 5


def test_after_an_interruption_it_resumes_with_the_incomplete_set(
    root: Path, tmp_path: Path, reads: list[tuple[str, str, str]]
) -> None:
    config, cache = _config(), tmp_path / "cache"
    planned, _ = sets(root, config)

    def stop(done: int, total: int, what: str) -> None:
        if len(reads) == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(planned, config, cache, report=stop)
    done = [path.name for path in (cache / "windows").iterdir()]
    assert len(done) == 2
    assert not any(name.startswith(".") for name in done)
    reads.clear()
    prepare(planned, config, cache)
    assert len(reads) == 60 - 24


def test_several_processes_make_the_same_sets_and_are_started_once(root: Path, tmp_path: Path, monkeypatch) -> None:
    config = _config("conversation", "stages=eeg")
    planned, _ = sets(root, config)
    started: list[int] = []
    real = process_pool._Program.__init__
    monkeypatch.setattr(process_pool._Program, "__init__", lambda *given: started.append(1) or real(*given))
    for name, jobs in (("one", 1), ("two", 2)):
        prepare(planned, config, tmp_path / name, jobs=jobs)
    assert started == [1]
    one, two = (sorted((tmp_path / name / "windows").glob("*/*.npy")) for name in ("one", "two"))
    assert [p.relative_to(tmp_path / "one") for p in one] == [p.relative_to(tmp_path / "two") for p in two]
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_a_recording_that_cannot_be_read_is_named_and_complete_sets_are_kept(root: Path, tmp_path: Path) -> None:
    config, cache = _config("conversation", "stages=audio"), tmp_path / "cache"
    planned, _ = sets(root, config)
    wav(root / "3-7.wav", np.concatenate([sine(300, 1.5, 16000), [np.nan]]))
    with fails(RecordingError, where="Subject 3, trial 7: ", expected="finite"):
        prepare(planned, config, cache)
    assert len(list((cache / "windows").iterdir())) == 2


def test_nothing_to_train_is_reported_with_the_reason(root: Path) -> None:
    with pytest.raises(DataError) as error:
        sets(root, _config(), ["4"])
    assert "4-5.wav" in str(error.value)
    one_group = pd.read_csv(root / "trials.csv").assign(group="g")
    one_group.to_csv(root / "trials.csv", index=False)
    with pytest.raises(SplitError) as unsplit:
        sets(root, _config(), ["1"])
    assert "2 groups" in str(unsplit.value)
