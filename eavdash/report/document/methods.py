"""The methods paragraph and the commands of a report, made of the configuration that the study really had.

In: a :class:`~eavdash.report.document.contents.Contents`. Out: sentences. They name the stages with finished runs
alone, and give every number from study.json and the runs' config.json.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields

from eavdash.config.choices import ACROSS
from eavdash.config.convert import settings_of
from eavdash.config.presets import PRESETS, preset
from eavdash.config.schema import StudyConfig
from eavdash.report import theme
from eavdash.report.document.contents import Contents
from eavdash.results import left_out
from eavdash.text import natural_order, plural

_PROTOCOLS = {
    "conversation": "split within each subject by group (such as a conversation), so that no group is in two parts",
    "paper": "split within each subject in the order of the recording, as published, without a validation part",
    "loso": "tested on one subject at a time that no model was trained on (leave one subject out)",
    "subject-kfold": "tested on subjects that no model was trained on, in folds over subjects",
}


def paragraph(found: Contents) -> list[str]:
    """Return the methods as sentences."""
    return [*_data(found), *_split(found), *_models(found), *_scoring(found), *_software(found)]


def _data(found: Contents) -> Iterator[str]:
    document = found.document
    people = natural_order(found.trials["subject"]) if len(found.trials) else ()
    kind = f" ({document.dataset.kind.upper()})" if document.dataset.kind else ""
    what = "simulated recordings" if document.dataset.simulated else "recordings"
    yield (
        f"The study uses {what}{kind} of {plural(len(document.selection.subjects), 'subject')}, of which "
        f"{len(people)} have test results, in {plural(len(document.classes), 'class', 'classes')} "
        f"({', '.join(document.classes)}); its table has {plural(document.dataset.trials, 'trial')}."
    )
    if where := [each for each in found.config.where if each not in ("all", "auto")]:
        yield f"Trials were selected by {', '.join(where)}."
    yield from left_out.sentences(document.left_out)


def _split(found: Contents) -> Iterator[str]:
    document, name = found.document, found.config.protocol.name
    folds = sorted({run.fold for run in found.runs})
    planned = len(document.selection.folds)
    done = f"{plural(len(folds), 'fold')} with finished runs of {planned} planned" if len(folds) != planned else ""
    yield (
        f"Trials were {_PROTOCOLS.get(name, f'split by the protocol {name}')} (protocol {name}, "
        f"{done or plural(planned, 'fold')}; seeds {', '.join(map(str, document.selection.seeds))})."
    )
    scaling = found.config.protocol.subject_scaling
    if scaling != "off":
        yield f"Recordings of a person were scaled by that person's own statistics ({scaling})."


def _models(found: Contents) -> Iterator[str]:
    config = found.config
    if not found.stages:
        return
    yield f"Trials were cut into windows of {config.window:g} s."
    for stage in found.stages:
        if stage == "fusion":
            kind = config.fusion
            depth = f", {plural(kind.depth, 'layer')}" if kind.kind == "transformer" else ""
            model = f"fusion “{kind.kind}” (width {kind.width}, {plural(kind.heads, 'head')}{depth})"
        else:
            part = getattr(config, stage)
            front = {"vision": "frames_per_second", "audio": "rate", "eeg": "rate"}[stage]
            unit = {"vision": "frames/s", "audio": "Hz", "eeg": "Hz"}[stage]
            band = f", {part.low:g}–{part.high:g} Hz" if stage == "eeg" else ""
            weights = f", initial weights {part.weights}" if part.weights else ""
            model = f"encoder {part.encoder} on {getattr(part, front):g} {unit}{band}{weights}"
        train = getattr(config.train, stage)
        fit = (
            f"at most {plural(train.epochs, 'epoch')}, batches of {train.batch}, learning rate {train.learning_rate:g}"
        )
        yield f"{theme.label(stage)}: {model}; {fit}, weight decay {train.weight_decay:g}."
    chosen = Counter(run.epoch_chosen_by for run in found.runs if run.epoch_chosen_by)
    if chosen:
        yield f"The epoch was chosen by {_counted(chosen)}."
    places = Counter(str(run.computed.get("device", "")) for run in found.runs if run.computed)
    if places:
        yield f"Computed on {_counted(places)}."


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({plural(n, 'run')})" for name, n in counts.items())


def _scoring(found: Contents) -> Iterator[str]:
    if not found.stages:
        return
    yield (
        "A trial's decision is the normalised exponential of the mean log-probability of its windows; seeds of a trial "
        "share its weight. Scores are means over subjects."
    )
    if found.question.primary is not None:
        yield (
            "The declared question, fusion against the modality with the best mean validation accuracy, is tested by a "
            "two-sided sign-flip permutation of the mean difference over subjects on the trials that both were tested "
            "on, uncorrected; all other comparisons are secondary and corrected by Holm's method over all of them."
        )
    if found.config.protocol.name in ACROSS:
        yield "Models of several people share training data, so that results of subjects are not independent."


def _software(found: Contents) -> Iterator[str]:
    document = found.document
    if document.versions:
        yield f"Software: {', '.join(f'{name} {version}' for name, version in document.versions.items())}."
    if document.git_commit:
        yield f"Commit {document.git_commit[:12]}."
    if marks := found.caveats.marks:
        yield f"Marks of these results: {'; '.join(marks)}."


def commands(found: Contents, explained: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Return the commands that plan the same study again and read its results; ``explained``: subjects and trials.

    Each is one line for a shell; names are quoted.
    """
    document, config = found.document, found.config
    select = document.selection
    words = ["eavdash", "train", document.dataset.path, "--study", f"{found.study.name}-again"]
    words += ["--subjects", ",".join(select.subjects), "--stages", ",".join(config.stages)]
    words += ["--preset", config.preset, "--protocol", config.protocol.name]
    words += ["--folds", ",".join(map(str, select.folds)), "--seeds", ",".join(map(str, select.seeds))]
    words += [word for column in config.where for word in ("--where", column) if column != "auto"]
    base = preset(config.preset if config.preset in PRESETS else "quick")
    among = {field.name for field in fields(StudyConfig)} - {"preset", "stages", "where"}
    changed = [text for text in settings_of(config, base, among) if not text.startswith("protocol.name=")]
    words += [word for text in changed for word in ("--set", text)]
    name = found.study.name
    lines = [shlex.join(words), shlex.join(["eavdash", "verify", name])]
    lines.append(shlex.join(["eavdash", "results", name, "--baselines", "--format", "csv"]))
    for subject, trial in explained:
        lines.append(shlex.join(["eavdash", "explain", name, f"--subject={subject}", f"--trial={trial}"]))
    return [*lines, shlex.join(["eavdash", "report", name])]
