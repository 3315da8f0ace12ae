"""The program of the warm process that answers what-ifs (:mod:`eavdash.store.processes.program`).

In: requests: a study's folder, a run, a subject and a trial; ``changes``, pairs of option and value, or none to load
the trial alone; and the folders that may be read. Out: the content of a
:class:`~eavdash.explain.whatif_record.WhatIf`. The process keeps the model that was asked last and a few trials; new
weights are noticed by their checksums.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eavdash.store import RunDir, StudyDir
from eavdash.store.processes.program import Answer, serve
from eavdash.store.readable import set_data_folders

if TYPE_CHECKING:
    from eavdash.explain.whatif import TrialSession

TRIALS = 4  # kept with their features

_sessions: OrderedDict[tuple[Any, ...], TrialSession] = OrderedDict()


def answer(request: dict[str, Any]) -> Answer:
    """Load a trial, or answer one what-if of it."""
    from eavdash.data.recording import release
    from eavdash.explain.changes.registry import changes_of

    set_data_folders(request["folders"])
    try:
        session = _session(StudyDir(Path(request["study"])), request["run"], request["subject"], request["trial"])
        if not request["changes"]:
            return {}, []
        return session.ask(changes_of(request["changes"])).document(), []
    finally:
        release()


def load() -> None:
    """Import what every answer needs; the processes are forked from the one that has it."""
    import eavdash.explain.whatif  # noqa: F401


def _session(study: StudyDir, name: str, subject: str, trial: str) -> TrialSession:
    from eavdash.explain.fused import encoder_runs
    from eavdash.explain.whatif import TrialSession

    run = study.run(name)
    weights = tuple(_checksums(each) for each in (run, *encoder_runs(study, run).values()))
    key = (str(run.path), weights, subject, trial)
    if key not in _sessions:
        same = next((s.model for (path, of, who, _), s in _sessions.items() if (path, of, who) == key[:3]), None)
        if same is None:
            _sessions.clear()  # one model at a time: full-size encoders take gigabytes
        _sessions[key] = TrialSession(study, run, subject, trial, model=same)
        while len(_sessions) > TRIALS:
            _sessions.popitem(last=False)
    _sessions.move_to_end(key)
    return _sessions[key]


def _checksums(run: RunDir) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(run.status().checksums.items()))


if __name__ == "__main__":
    serve(answer, load)
