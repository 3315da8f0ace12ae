"""The question that a map answers: whose decision, why which class, rather than which other one, measured from where.

In: the rows of one trial, one per stage. Out: a :class:`Question`, the stored answers to others, and the buttons that
start the computation of more as tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from eavdash.config.choices import STAGES
from eavdash.explain.method_registry import METHODS, NONE, lacking
from eavdash.explain.question import METHOD
from eavdash.explain.records import StoredExplanation
from eavdash.report import theme
from eavdash.store import RunDir, StudyDir, checkpoints_root
from eavdash.text import markdown
from eavdash.ui import cached_explanations, tasks
from eavdash.ui.explain.choose_trial import PAGE, choose

NAMES = ("of", "target", "against", "method")  # of the widgets, also in the address
_BASELINES = {
    "mixed": ", better baseline per modality",
    "training": ", from training windows",
    "mean": ", from the mean input",
    NONE: "",
}


def method_names(attributions: bool = False) -> dict[str, str]:
    """Return the methods with their baselines, as a widget's values, and their names; the default first.

    ``attributions``: leave out those that show attention.
    """
    kinds = sorted(METHODS.values(), key=lambda kind: kind.name != METHOD)
    return {
        f"{kind.name}-{baseline}": f"{kind.title}{_BASELINES[baseline]}"
        for kind in kinds
        if kind.attribution or not attributions
        for baseline in kind.baselines or (NONE,)
    }


METHOD_HELP = (
    "A map shows what matters compared with a baseline. One mean input may itself look like one of the classes, "
    "therefore expected gradients average over training windows. Which baseline finds planted evidence better was "
    "measured for each modality.\n\n"
) + "\n".join(f"- **{kind.title}** ({kind.source}): {kind.help}" for kind in METHODS.values())
_PREDICTED, _LABEL, _RUNNER_UP = "predicted", "true", "runner-up"
_ROLES = {_PREDICTED: "predicted", _LABEL: "the label", _RUNNER_UP: "runner-up"}


@dataclass(frozen=True)
class Question:
    """Question that a map answers: the decision of a stage's run on a trial, and a method."""

    stage: str
    run: RunDir
    subject: str
    trial: str
    method: str
    target: str  # class
    against: str  # class, or empty
    baseline: str
    predicted: str  # class

    def answered(self, stored: StoredExplanation) -> bool:
        """Return True if a stored explanation answers it; those of earlier versions explain the predicted class."""
        target, baseline = stored.target or self.predicted, stored.baseline or "mean"
        return (self.method, self.target, self.against, self.baseline) == (
            stored.method,
            target,
            stored.against,
            baseline,
        )

    def answer(self) -> cached_explanations.Opened | None:
        """Return the stored explanation that answers it, or None.

        Raises:
            IntegrityError: its files are damaged.
        """
        stored = filter(self.answered, cached_explanations.stored(self.run, self.subject, self.trial))
        best = max(stored, key=lambda each: bool(each.target), default=None)  # rather not an earlier version's
        return cached_explanations.opened(self.run, self.subject, self.trial, best) if best else None


@dataclass(frozen=True)
class _Roles:
    """The classes by their role in a stage's decision on the trial, which lasts from trial to trial."""

    row: Mapping[Any, Any]
    classes: Sequence[str]

    @property
    def predicted(self) -> str:
        return str(self.row["predicted"])

    def targets(self) -> dict[str, str]:
        return self._with_others({_PREDICTED: self.predicted, _LABEL: str(self.row["label"])})

    def rivals(self, target: str) -> dict[str, str]:
        ranked = sorted(self.classes, key=lambda name: -float(str(self.row[f"p_{name}"])))
        second = next((name for name in ranked if name != target), "")
        found = self._with_others({_RUNNER_UP: second, _LABEL: str(self.row["label"])})
        return {role: name for role, name in found.items() if name not in ("", target)}

    def _with_others(self, roles: dict[str, str]) -> dict[str, str]:
        named = {role: name for n, (role, name) in enumerate(roles.items()) if name not in list(roles.values())[:n]}
        return named | {name: name for name in self.classes if name not in named.values()}


def ask(study: StudyDir, rows: pd.DataFrame, classes: Sequence[str]) -> Question:
    """Show the controls and the stored maps; return the question."""
    by_stage = {str(row["stage"]): row for row in rows.to_dict("records")}
    stages = [stage for stage in reversed(STAGES) if stage in by_stage]
    runs = {stage: study.run(str(by_stage[stage]["run"])) for stage in stages}
    subject, trial = str(rows["subject"].iloc[0]), str(rows["trial"].iloc[0])
    roles = {stage: _Roles(by_stage[stage], classes) for stage in stages}
    stored = [(stage, each) for stage in stages for each in cached_explanations.stored(runs[stage], subject, trial)]
    if stored and not any(st.session_state.get(f"{PAGE}_{name}") for name in NAMES):
        _take(_choices(*stored[0], roles))
    with st.container(border=True):
        first, second, third, fourth = st.columns([1.1, 1.2, 1.2, 2.2], vertical_alignment="bottom")
        stage = choose(first, "Whose decision", stages, "of", stage_name)
        targets = roles[stage].targets()
        _to_role("target", targets)
        target = targets[choose(second, "Why", list(targets), "target", lambda role: _named(role, targets))]
        rivals = roles[stage].rivals(target)
        _to_role("against", rivals)
        against = choose(
            third,
            "Rather than",
            list(rivals),
            "against",
            lambda role: _named(role, rivals),
            index=None,
            placeholder="–",
        )
        methods = method_names()
        method = choose(fourth, "Method", list(methods), "method", methods.__getitem__, help=METHOD_HELP)
        kind, _, baseline = method.partition("-")
        question = Question(
            stage, runs[stage], subject, trial, kind, target, rivals.get(against, ""), baseline, roles[stage].predicted
        )
        st.caption(METHODS[kind].help)
        _list_stored(stored, roles, question)
    return question


def offer(study: StudyDir, rows: pd.DataFrame, question: Question, found: bool, again: bool = False) -> None:
    """Show the buttons that compute maps as tasks, and the running ones.

    ``found``: this map is stored; ``again``: it was stored by an earlier version, and would have more.
    """
    if not found and (reason := lacking(question.method, question.run)):
        st.info(markdown(f"{reason} Choose another method, or the decision of another modality."))
        return
    subject, trial = question.subject, question.trial
    more = ["--stage", question.stage, "--method", question.method, "--baseline", question.baseline]
    own = ["explain", study.name, f"--subject={subject}", f"--trial={trial}", *more, f"--target={question.target}"]
    own += ["--fold", str(int(rows["fold"].iloc[0])), "--seed", str(int(rows["seed"].iloc[0]))]
    own += [f"--against={question.against}"] if question.against else []
    lists = {
        which: ["explain", study.name, f"--subject={subject}", "--trials", which, *more] for which in ("wrong", "all")
    }
    taken = _estimate(study, question)
    if not found:
        st.info(f"This map is not computed yet. {taken}")
    with st.container(horizontal=True):
        if not found or again:
            st.button(
                "Compute it again" if again else "Compute this map",
                type="primary",
                on_click=tasks.start,
                args=(own, f"Explain subject {subject}, trial {trial}", study.name),
                key=f"{PAGE}_compute",
            )
        for which, command in lists.items():
            named = "wrong" if which == "wrong" else "test"
            done = " that were decided wrongly" if which == "wrong" else " that the study tests"
            st.button(
                f"Compute all {named} trials",
                on_click=tasks.start,
                args=(command, f"Explain the {named} trials of subject {subject}", study.name),
                help=f"Explains all trials of subject {markdown(subject)}{done}. Stored maps stay. Each map: {taken}",
                key=f"{PAGE}_{which}",
            )
    if not found or again:
        tasks.panel(checkpoints_root(), study.name, own, key=f"{PAGE}_task_own")
    for which, command in lists.items():
        tasks.panel(checkpoints_root(), study.name, command, key=f"{PAGE}_task_{which}")


def _estimate(study: StudyDir, question: Question) -> str:
    """Return how long the map will take."""
    from eavdash.explain.estimate import estimate

    return estimate(study, question.run, question.method).sentence()


def _list_stored(
    stored: Sequence[tuple[str, StoredExplanation]], roles: Mapping[str, _Roles], question: Question
) -> None:
    """Show what is stored for this trial; a click opens it."""
    places = {n: question.stage == stage and question.answered(each) for n, (stage, each) in enumerate(stored)}
    if not places or (len(places) == 1 and places[0]):
        return
    key = f"{PAGE}_stored"
    st.session_state[key] = next((n for n, same in places.items() if same), None)

    def open_stored() -> None:
        if (number := st.session_state.get(key)) is not None:
            stage, chosen = stored[number]
            _take(_choices(stage, chosen, roles))

    names = [_describe(stage, each, roles[stage].predicted) for stage, each in stored]
    st.pills("Stored maps", list(places), format_func=names.__getitem__, key=key, on_change=open_stored)


def _choices(stage: str, stored: StoredExplanation, roles: Mapping[str, _Roles]) -> dict[str, str | None]:
    """Return the values of the controls that ask for a stored explanation."""
    target = stored.target or roles[stage].predicted
    return {
        "of": stage,
        "target": next(role for role, name in roles[stage].targets().items() if name == target),
        "against": next((role for role, name in roles[stage].rivals(target).items() if name == stored.against), None),
        "method": f"{stored.method}-{stored.baseline or 'mean'}",
    }


def _to_role(name: str, roles: Mapping[str, str]) -> None:
    """Select the role of a class that was selected by its name, in an address or for another trial."""
    value = st.session_state.get(f"{PAGE}_{name}")
    if value not in roles and value in roles.values():
        st.session_state[f"{PAGE}_{name}"] = next(role for role, class_ in roles.items() if class_ == value)


def _take(choices: Mapping[str, str | None]) -> None:
    st.session_state.update({f"{PAGE}_{name}": value for name, value in choices.items()})


def _describe(stage: str, stored: StoredExplanation, predicted: str) -> str:
    rather = f" rather than {stored.against}" if stored.against else ""
    kind = METHODS.get(stored.method)
    method = kind.title.lower() if kind else stored.method.replace("_", " ")
    method += "" if stored.baseline == NONE else f", {stored.baseline or 'mean'}"
    return f"{stage_name(stage)}: {stored.target or predicted}{rather} ({method})"


def stage_name(stage: str) -> str:
    """Return whose decision that of a stage is."""
    return theme.label(stage) if stage == "fusion" else f"{theme.label(stage)} alone"


def _named(role: str, classes: Mapping[str, str]) -> str:
    name = classes.get(role, "")
    return f"{name} ({_ROLES[role]})" if role in _ROLES and role not in classes.values() else name
