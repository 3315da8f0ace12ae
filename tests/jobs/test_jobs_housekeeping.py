"""Deleting and archiving while the queue is running: real processes, a stand-in training."""

from __future__ import annotations

import random
import threading
import time

import pytest
from documents import study_document

from eavdash.errors import EavdashError, UsageError
from eavdash.jobs.queue import cancel, submit, wait
from eavdash.store import StudyDir, studies
from eavdash.store.record import write_record
from eavdash.studies.archive import archive, delete


def test_a_study_is_deleted_only_after_its_runs_were_cancelled(lab):
    run = lab.run("s01-eeg", epochs=2000)
    lab.run("s01-fusion", (run.name,))
    submit(lab.study)
    pid = lab.at_epoch(run)
    for act in (lambda: delete(lab.study, "tried"), lambda: archive(lab.study)):
        with pytest.raises(UsageError, match=r"s01-eeg running, s01-fusion blocked; cancel first"):
            act()
    assert (run.locked(), run.status().pid, lab.study.archived) == (True, pid, False)
    cancel(lab.study)
    wait(lab.study, timeout=60)
    delete(lab.study, "tried")
    assert studies(lab.root) == []
    assert lab.processes() == []


def test_of_a_concurrent_submission_and_deletion_only_one_takes_effect(lab):
    """Either the study is queued and computed completely, or it is deleted and not created again."""
    random.seed(0)
    gone = []
    for number in range(8):
        study = StudyDir(lab.root / f"round{number}")
        study.path.mkdir()
        write_record(study.study_file, study_document(study.name))
        lab.study = study
        runs = lab.subject(1, epochs=1, seconds=0.01)
        outcome: dict[str, Exception | None] = {}
        together = threading.Barrier(2)

        def act(name, function, wait_for, together=together, outcome=outcome):
            together.wait(10)
            time.sleep(wait_for)
            try:
                function()
                outcome[name] = None
            except EavdashError as error:
                outcome[name] = error

        acts = {"submit": lambda study=study: submit(study), "delete": lambda study=study: delete(study, study.name)}
        both = [threading.Thread(target=act, args=(*one, random.uniform(0, 0.02))) for one in acts.items()]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(60)
        if outcome["delete"] is None:
            gone.append(study.name)
        else:
            assert "cancel first" in str(outcome["delete"])
            assert outcome["submit"] is None
            assert wait(study, timeout=90)["state"].tolist() == ["done"] * len(runs)
            assert lab.launches() == dict.fromkeys((run.name for run in runs), 1)
    time.sleep(1)
    assert not [name for name in gone if (lab.root / name).exists()]
    assert not (lab.root / ".deleted").exists() or not list((lab.root / ".deleted").iterdir())
