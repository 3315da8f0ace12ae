"""``probe``: does a study's accuracy rest on something other than the emotion?"""

from __future__ import annotations

import argparse

from eavdash import store
from eavdash.cli import console
from eavdash.errors import EavdashError, UsageError


def probe(options: argparse.Namespace) -> int:
    """Run leakage probes here and keep what they find beside the study; one that fails does not stop the others."""
    from eavdash.results import probes
    from eavdash.studies import probing

    study = store.find_study(store.checkpoints_root(options.checkpoints), options.study)
    names = tuple(dict.fromkeys(part.strip() for part in options.probes.split(",") if part.strip()))
    if not names or not set(names) <= set(probes.PROBES):
        raise UsageError.at(
            "--probes",
            expected=f"some of {', '.join(probes.PROBES)}",
            found=repr(options.probes),
            remedy="name those to run",
        )
    with probing.at_work(study) as tell:
        every = probes.read(study)
        failed: list[EavdashError] = []
        for name in names:
            tell(name)
            if not options.json:
                console.say(f"{name} …")
            try:
                # Each is kept as soon as it is found: the next may take long, or not be possible.
                every = probes.keep(study, {name: _find(study, name, options.device)})
            except EavdashError as error:
                failed.append(error)
        if options.json:
            console.print_json(every)
        else:
            for found in every.values():
                console.answer(found["sentence"])
        for further in dict.fromkeys(str(error) for error in failed[1:] if str(error) != str(failed[0])):
            console.complain(further)
        if failed:
            raise failed[0]
    return 0


def _find(study: store.StudyDir, name: str, device: str) -> dict[str, object]:
    from eavdash.results import probes

    if name == "time":
        return probes.time_only(study)
    from dataclasses import asdict

    from eavdash.training.probes import shuffled_labels, subject_identity

    if name == "shuffled":
        made = shuffled_labels(study, device=device)
        more = {key: asdict(made)[key] for key in ("stage", "fold", "subjects")}
        classes = len(study.study()["classes"])
        return probes.finding(name, made.accuracy, made.n, made.units, classes, made.majority, **more)
    told = subject_identity(study, device=device)
    more = {key: asdict(told)[key] for key in ("stage", "of", "subjects")}
    return probes.finding(name, told.accuracy, told.n, told.trials, len(told.subjects), told.majority, **more)
