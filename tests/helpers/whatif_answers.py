"""An answer to a what-if without a model; run as a script, the program of a warm process that gives it."""

from __future__ import annotations

import os
import time
from typing import Any

from eavdash.errors import UsageError
from eavdash.explain.changes.registry import changes_of
from eavdash.explain.whatif_record import ChangeMade, Outcome, WhatIf, WindowOutcome
from eavdash.store.processes.program import Answer, serve

CLASSES = ("Anger", "Calmness")
WINDOWS = ((0, 0.0, 5.0), (1, 5.0, 10.0))


def answered(pairs: list[tuple[str, str]], stage: str = "fusion") -> WhatIf:
    """Make an answer that goes from Anger to Calmness."""
    changes = changes_of(pairs)
    fields = ("option", "argument", "modality", "words", "definition")
    fused = stage == "fusion"

    def outcome(anger: float, audio: float) -> Outcome:
        chances = {stage: {"Anger": anger, "Calmness": 1 - anger}}
        predicted = "Anger" if anger > 0.5 else "Calmness"
        windows = [
            WindowOutcome(window=n, start=a, stop=b, predicted=predicted, probabilities=chances) for n, a, b in WINDOWS
        ]
        shapley = {"vision": 0.3, "audio": audio} if fused else {}
        steps = (("base", -0.7), ("vision", 0.3), ("audio", audio), ("decision", -0.4 + audio)) if fused else ()
        attention = {"vision": 0.6, "audio": 0.4} if fused else {}
        return Outcome(
            predicted=predicted,
            probabilities=chances,
            attention=attention,
            shapley=shapley,
            steps=steps,
            windows=tuple(windows),
        )

    return WhatIf(
        study="demo",
        run="s01-fusion",
        stage=stage,
        subject="1",
        trial="2",
        label="Anger",
        classes=CLASSES,
        modalities=("vision", "audio") if fused else (stage,),
        target="Anger",
        changes=tuple(ChangeMade(**{name: getattr(change, name) for name in fields}) for change in changes),
        before=outcome(0.8, 0.2),
        after=outcome(0.3, -0.5),
        encoders_run=("audio",),
        notes=("A note.",),
        reproduction=0.2,
        seconds=0.1,
    )


def answer(request: dict[str, Any]) -> Answer:
    """Answer, or fail as the other trial's name says."""
    what = request["trial"]
    if what == "crash":
        os._exit(3)
    if what == "slow":
        time.sleep(60)
    if what == "wrong":
        raise UsageError.at("--mute eeg:90-99", expected="a band", found="none", remedy="choose another")
    return (answered([(o, a) for o, a in request["changes"]]).document(), []) if request["changes"] else ({}, [])


if __name__ == "__main__":
    serve(answer)
