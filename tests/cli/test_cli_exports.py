"""``results`` as files: caveats in every form, the layout of LaTeX, averages, class probabilities."""

from __future__ import annotations

import csv
import io
import json
import re

import pandas as pd
import pytest
from fake_study import make_study

from eavdash.cli.main import main
from eavdash.report import latex
from eavdash.report.caveats import Caveats
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
