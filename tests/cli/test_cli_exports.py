"""``results`` as files: caveats in every form, the layout of LaTeX, averages, class probabilities."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import make_study
from pandas_scores import by_hand

from eavdash.cli.main import main
from eavdash.report import latex
from eavdash.report.caveats import Caveats
from eavdash.report.document import contents
from eavdash.report.document.figures import figures_of
from eavdash.report.document.render import file_of
from eavdash.store import StudyDir
from eavdash.text import latex as escaped

KEYS = ["study", "subject", "stage", "level", "n", "accuracy", "balanced_accuracy", "macro_f1"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    return make_study(tmp_path_factory.mktemp("c"), subjects=("1", "2", "10"), protocol="paper")


def printed(capsys: pytest.CaptureFixture[str], study: StudyDir, *options: str) -> str:
    assert main(["results", study.name, "--checkpoints", str(study.path.parent), *options]) == 0
    return capsys.readouterr().out


def test_json_and_csv_gain_keys_and_no_rows(study: StudyDir, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(printed(capsys, study, "--json"))
    assert len(rows) == 3 * 4
    for row in rows:
        assert list(row) == [*KEYS, "protocol", "marks", "simulated", "schema"]
        assert (row["protocol"], row["simulated"], row["schema"]) == ("paper", True, 1)
        assert "optimistic" in row["marks"]
    read = list(csv.DictReader(io.StringIO(printed(capsys, study, "--format", "csv"))))
    assert [{k: str(v) for k, v in row.items()} for row in rows] == read


def test_latex_has_the_layout_of_table_1(study: StudyDir, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.DataFrame(json.loads(printed(capsys, study, "--json")))
    text = printed(capsys, study, "--format", "latex")
    lines = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if " & " in line]
    assert lines[0] == ["Subject", "Vision", "Audio", "EEG", "Fusion"]
    assert [line[0] for line in lines[1:]] == ["1", "2", "10", "Average"]
    vision = rows[rows["stage"] == "vision"].set_index("subject")["accuracy"] * 100
    assert [float(line[1]) for line in lines[1:4]] == pytest.approx(vision[["1", "2", "10"]].round(1).tolist())
    assert lines[4][1] == rf"{vision.mean():.1f} $\pm$ {vision.std():.1f}"
    for part in (r"\caption{", r"\label{tab:demo-trial}", "SIMULATED", "protocol paper", "optimistic", "booktabs"):
        assert part in text
    assert text.count("{") == text.count("}")


def test_long_tables_repeat_their_head_and_special_characters_are_escaped() -> None:
    names = [rf"s_{n} & 50% #\~^{{}}$é" for n in range(60)]
    table = pd.DataFrame(
        {"subject": names, "stage": "vision", "study": "a_b", "level": "trial", "n": 3, "accuracy": 0.5}
    )
    text = latex.score_table(table, Caveats("a_b", "conversation", ("100 % & more",)))
    assert r"\begin{longtable}{lr}" in text
    assert r"\endhead" in text
    assert escaped(names[0]) in text
    assert r"100 \% \& more" in text
    assert "U+00E9" in text
    assert r"\label{tab:a-b-trial}" in text
    body = re.sub(r"^%.*$", "", text, flags=re.MULTILINE).replace(r"\\", "").replace(" & ", " ")
    assert not re.findall(r"(?<!\\)[&%#_]", body)
    short = latex.score_table(table.head(2), Caveats("x", "loso"))
    assert "longtable" not in short


def test_the_table_of_the_terminal_has_averages(study: StudyDir, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.DataFrame(json.loads(printed(capsys, study, "--json")))
    fusion = 100 * rows.loc[rows["stage"] == "fusion", "accuracy"]
    assert f"{fusion.mean():.1f} ± {fusion.std():.1f}" in printed(capsys, study)
    assert "Averages" not in printed(capsys, study, "--by", "fold")


def test_trials_keep_their_class_probabilities(study: StudyDir, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(printed(capsys, study, "--trials", "--json"))
    for row in rows:
        p = {key[2:]: value for key, value in row.items() if key.startswith("p_")}
        assert sum(p.values()) == pytest.approx(1)
        assert max(p, key=p.__getitem__) == row["predicted"]
    assert "p_Anger" not in printed(capsys, study, "--trials")
    assert "p\\_Anger" in printed(capsys, study, "--trials", "--format", "latex")


@pytest.mark.parametrize("level", ["trial", "window", "frame"])
def test_every_export_has_the_numbers_of_pandas_alone(
    level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_study(tmp_path, subjects=("1", "b_c"), stages=("vision", "eeg"), folds=(0, 1), seeds=(0, 1), trials=5)
    rows = json.loads(printed(capsys, made, "--json", "--level", level))
    assert {row["stage"] for row in rows} == ({"vision"} if level == "frame" else {"vision", "eeg"})
    expected = {(row["subject"], row["stage"]): by_hand(made, level, row["subject"], row["stage"]) for row in rows}
    read = pd.read_csv(io.StringIO(printed(capsys, made, "--format", "csv", "--level", level)), dtype={"subject": str})
    for row in (*rows, *read.to_dict("records")):
        for name, value in expected[row["subject"], row["stage"]].items():
            assert row[name] == pytest.approx(value, abs=1e-12)
    typeset = printed(capsys, made, "--format", "latex", "--level", level, "--metric", "macro_f1")
    cells = {line.split(" & ")[0]: line.removesuffix(r" \\").split(" & ")[1:] for line in typeset.splitlines()}
    for subject, name in (("1", "1"), ("b_c", r"b\_c")):
        for place, stage in enumerate(dict.fromkeys(row["stage"] for row in rows)):
            assert cells[name][place] == f"{100 * expected[subject, stage]['macro_f1']:.1f}"
    means = [np.mean([expected[subject, "vision"][m] for subject in ("1", "b_c")]) for m in KEYS[5:]]
    printed_line = next(line for line in printed(capsys, made, "--level", level).splitlines() if "±" in line)
    assert [f"{100 * mean:.1f}" for mean in means] == re.findall(r"([\d.]+) ±", printed_line)


def test_trials_and_figures_have_the_numbers_of_pandas_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_study(tmp_path / "c", subjects=("1", "2"), trials=5)
    every = pd.concat([pd.read_parquet(run.predictions_file).assign(run=run.name) for run in made.runs()])
    every = every[(every["split"] == "test") & (every["frame"] == -1)]
    every["stage"] = every["run"].str.split("-").str[1]
    p = [c for c in every.columns if c.startswith("p_")]
    logs = every.assign(**np.log(every[p])).groupby(["subject", "trial", "stage"])[p].mean()
    chances = np.exp(logs).div(np.exp(logs).sum(axis=1), axis=0)
    read = pd.read_csv(io.StringIO(printed(capsys, made, "--trials", "--format", "csv")), dtype={"subject": str})
    read["trial"] = read["trial"].astype(str)
    kept = read.set_index(["subject", "trial", "stage"]).sort_index()
    pd.testing.assert_frame_equal(kept[p], chances, check_names=False)
    assert kept["predicted"].tolist() == chances.idxmax(axis=1).str.removeprefix("p_").tolist()
    found = contents.read(made)
    named = next(each for each in figures_of(found) if each.name == "subjects")
    bars = pd.read_csv(io.BytesIO(file_of(named.figure, "csv", named.title, named.caption, found.caveats)))
    for stage, title in (("vision", "Vision"), ("fusion", "Fusion")):
        values = bars.loc[(bars["trace"] == title) & bars["x"].isin(["1", "2"]), ["x", "y"]].drop_duplicates("x")
        for name, value in values.itertuples(index=False):
            assert value == pytest.approx(100 * by_hand(made, "trial", str(name), stage)["accuracy"])
        assert len(values) == 2
