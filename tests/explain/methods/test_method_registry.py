"""The table of methods: what command line, page, documents and the files on disk take from it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from failing import fails
from fake_study import make_study

import eavdash
from eavdash.cli.main import parser
from eavdash.errors import UsageError
from eavdash.explain.baselines import BASELINES, baseline_of
from eavdash.explain.method_registry import METHODS, lacking
from eavdash.explain.question import METHOD, Question
from eavdash.ui.explain import question

PACKAGE = Path(eavdash.__file__).parent
HELPERS = {"__init__", "asked", "attention_weights"}


def test_each_method_is_a_module_of_its_name() -> None:
    modules = {path.stem for path in (PACKAGE / "explain" / "methods").glob("*.py")}
    assert modules - HELPERS == set(METHODS)
    for name, kind in METHODS.items():
        tree = ast.parse((PACKAGE / "explain" / "methods" / f"{name}.py").read_text())
        (function,) = (f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == name)
        assert [a.arg for a in function.args.args] == ["asked"], "one signature for all"
        assert kind.name == name
        assert kind.function.__name__ == name


def test_the_command_line_and_the_page_offer_every_method() -> None:
    for name, baselines in BASELINES.items():
        found = parser().parse_args(["explain", "demo", "--subject", "1", "--trial", "2", "--method", name])
        assert (found.method, found.baseline) == (name, "")
        assert baseline_of(name) == baselines[0]
        for baseline in baselines:
            command = ["explain", "demo", "--subject", "1", "--trial", "2", "--method", name, "--baseline", baseline]
            assert parser().parse_args(command).baseline == baseline
    offered = [f"{name}-{baseline}" for name, baselines in BASELINES.items() for baseline in baselines]
    assert sorted(question.method_names()) == sorted(offered)
    assert next(iter(question.method_names())) == f"{METHOD}-mixed"
    assert len(set(question.method_names().values())) == len(offered)


def test_the_documents_have_the_same_table() -> None:
    rows = (PACKAGE.parent / "docs" / "explaining.md").read_text(encoding="utf-8").splitlines()
    table = [row for row in rows if row.startswith("| `") and row.split("`")[1] in METHODS]
    assert table == [kind.row for kind in METHODS.values()]


def test_what_is_no_attribution_says_so() -> None:
    for kind in METHODS.values():
        assert kind.attribution != ("not an attribution" in kind.title)
        assert kind.unit("logit").startswith("share") != kind.attribution
        assert not kind.complete or (kind.attribution and kind.signed and kind.baselines)
    assert METHODS["saliency"].unit("logit") == "change of the logit per unit of the scaled input"
    assert METHODS["occlusion"].unit("logit") == "logit"


@pytest.mark.parametrize("name", ["saliency", "attention_rollout"])
def test_methods_without_a_baseline_refuse_one(name: str) -> None:
    assert baseline_of(name) == "none"
    with fails(UsageError, where=f"baseline of {name}", expected="none", found="'mean'"):
        Question(name, baseline="mean")


def test_a_run_without_such_encoders_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    fusion, audio = study.run("s01-fusion"), study.run("s01-audio")
    assert lacking("electrode_attention", fusion) == ""
    assert "audio ast" in lacking("electrode_attention", audio)
    with fails(UsageError, where="method", found="Electrode attention reads", remedy="choose another method"):
        Question("electrode_attention").of(audio, "1", "2")
    assert Question("electrode_attention").of(fusion, "1", "2").baseline == "none"
