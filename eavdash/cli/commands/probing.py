"""``probe``: leakage probes, which test whether a study's accuracy depends on something other than emotion."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.errors import EavdashError, UsageError
from eavdash.store.task import report_progress
from eavdash.text import parts

if TYPE_CHECKING:
    from eavdash.results.probes import Finding

DOING = {
    "shuffled": "training an encoder on shuffled labels",
    "time": "predicting the label from a trial's position in the session",
    "identity": "predicting the subject of a window",
}


def probe(options: argparse.Namespace) -> int:
    """Run leakage probes and keep their results with the study; one that fails does not stop the others."""
    from eavdash.results import probes
    from eavdash.studies import probing

    study = study_of(options)
    names = tuple(dict.fromkeys(parts(options.probes)))
    if not names or not set(names) <= set(probes.PROBES):
        raise UsageError.at(
            "--probes",
            expected=f"some of {', '.join(probes.PROBES)}",
            found=repr(options.probes),
            remedy="choose among them",
        )
    with probing.probing_lock(study):
        results = probes.read(study)
        failed: list[EavdashError] = []
        for number, name in enumerate(names):
            report_progress(number, len(names), DOING[name])
            if not options.json:
                console.info(f"{name} …")
            try:
                # Keep each result at once: the next probe may take long or fail.
                results = probes.keep(study, {name: _run_probe(study, name, options.device)})
            except EavdashError as error:
                failed.append(error)
        report_progress(len(names), len(names))
        if options.json:
            console.print_json({name: result.document() for name, result in results.items()})
        else:
            for result in results.values():
                console.output(result.sentence)
        for other in dict.fromkeys(str(error) for error in failed[1:] if str(error) != str(failed[0])):
            console.error(other)
        if failed:
            raise failed[0]
    return 0


def _run_probe(study: store.StudyDir, name: str, device: str) -> Finding:
    from eavdash.results import probes

    if name == "time":
        return probes.time_only(study)
    from dataclasses import asdict

    from eavdash.training.probes import shuffled_labels, subject_identity

    if name == "shuffled":
        shuffled = shuffled_labels(study, device=device)
        more = {key: asdict(shuffled)[key] for key in ("stage", "fold", "subjects")}
        classes = len(study.study().classes)
        return probes.finding(name, shuffled.accuracy, shuffled.n, shuffled.units, classes, shuffled.majority, **more)
    identity = subject_identity(study, device=device)
    more = {key: asdict(identity)[key] for key in ("stage", "of", "subjects")}
    return probes.finding(
        name, identity.accuracy, identity.n, identity.trials, len(identity.subjects), identity.majority, **more
    )
