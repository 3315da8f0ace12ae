"""A run says what it does, in order; what is said does not change its results."""

from __future__ import annotations

import math

import pytest

from eavdash.jobs import worker
from eavdash.store.status import Phase
from eavdash.training import phases
from eavdash.training.run import train_run


@pytest.mark.parametrize("stage", ["audio"])
def test_the_phases_of_an_encoder_and_its_results(sandbox, tiny_config, content, stage):
    silent = sandbox.study(tiny_config(2), "silent")(stage)
    assert train_run(silent)
    heard = []
    told = sandbox.study(tiny_config(2), "told")(stage)
    assert train_run(told, phase=lambda *what: heard.append(what))
    names = list(dict.fromkeys(name for name, _, _ in heard))
    assert names == [phases.READING, phases.TRAINING, phases.TESTING, phases.BASELINES]
    trials = len(sandbox.trials)
    assert (phases.READING, trials, trials) in heard
    assert [what for what in heard if what[0] == phases.TRAINING] == [(phases.TRAINING, n, 2) for n in (0, 1)]
    assert content(told) == content(silent)
    assert phases.enter(phases.TESTING) is None  # nobody listens any more


def test_a_phase_is_written_at_most_once_a_second_and_ends_with_the_state(sandbox, tiny_config, monkeypatch):
    run = sandbox.study(tiny_config(1))("eeg")
    run.transition("running", attempt=1)
    assert run.status().doing == "starting"
    monkeypatch.setattr(worker, "PHASE_EVERY", 3600.0)
    writer = worker._PhaseWriter(run, {"attempt": 1})
    for done in range(30):
        writer.enter("reading windows", done, 60)
    assert run.status().doing == "reading windows 0/60"  # the first one; the others are the next heartbeat's
    assert writer.now == Phase(name="reading windows", done=29, total=60)
    writer._written = -math.inf  # time passes
    writer.enter("reading windows", 40, 60)
    assert run.status().doing == "reading windows 40/60"
    for state in ("queued", "running"):  # it was killed, and is resumed
        run.transition(state)
        assert run.status().doing == ("starting" if state == "running" else "")
    # Once another attempt has replaced it, or it has ended, a late process says nothing.
    run.update(attempt=2)
    writer._written = -math.inf  # time passes
    writer.enter("testing", 0, 0)
    assert run.status().doing == "starting"
    run.transition("failed", reason="no file")
    assert run.status().phase is None
