"""Pictures of figures for a paper: the width of a column, nothing cut off, the same content as the figure."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from fake_study import make_study
from PIL import Image

from eavdash.report import caveats, figure_data, static, theme
from eavdash.report.document.render import caption_of, file_of
from eavdash.report.figures import explain
from eavdash.report.figures.results import AVERAGE
from eavdash.report.figures.subjects import BARS_IN_A_PANEL, subject_bars
from eavdash.results import paper, tables

ABOUT = caveats.Caveats("demo", "conversation", simulated=True)


def long_names() -> go.Figure:
    """Bars whose names need much room on the left, and a legend that is wider than a column."""
    fig = theme.figure(300, {"title": "Accuracy, %", "range": [0, 105]}, {"type": "category"})
    for number in range(6):
        rows = [f"a rather long name of a class, number {n}" for n in range(4)]
        fig.add_trace(go.Bar(name=f"an encoder's name {number}", x=[50] * 4, y=rows, orientation="h"))
    return fig


def edges(content: bytes, border: int) -> float:
    """Return the darkest value in the border of a picture: 255 if nothing touches it."""
    with Image.open(io.BytesIO(content)) as image:
        grey = np.asarray(image.convert("L"))
    inner = np.ones(grey.shape, bool)
    inner[border:-border, border:-border] = False
    return float(grey[inner].min())


@pytest.mark.parametrize("column", static.COLUMNS.values())
def test_a_picture_is_as_wide_as_its_column_and_nothing_is_cut_off(column: int) -> None:
    content = file_of(long_names(), "png", "Title", "Caption.", caveats.Caveats("s", "loso"), column)
    with Image.open(io.BytesIO(content)) as image:
        assert image.width == pytest.approx(column / 25.4 * 600, abs=2)
    assert edges(content, 8) == 255, "ink at the edge"


def test_the_margin_is_what_keeps_names_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "_fit", lambda *_: None)
    assert edges(static.picture(long_names(), "png", column=89), 8) < 255


def test_vector_files_have_their_texts_and_simulated_is_in_all() -> None:
    svg = file_of(long_names(), "svg", "Title", "Caption.", ABOUT, 89).decode()
    assert "SIMULATED" in svg
    assert "a rather long name" in svg
    assert "Caption" not in svg
    assert re.search(r'width="25[0-9.]+pt"', svg)  # 89 mm
    pdf = file_of(long_names(), "pdf", "Title", "Caption.", ABOUT, 183)
    assert pdf.startswith(b"%PDF")
    assert pdf == file_of(long_names(), "pdf", "Title", "Caption.", ABOUT, 183), "the same figure is the same file"
    words = caption_of("Bars", "Bars of something.", ABOUT)
    assert words == f"Bars of something. {ABOUT.footnote}"
    assert caption_of("Title", "Caption", ABOUT).startswith("Title. Caption. Study demo")


def test_maps_have_a_bar_of_colours_and_texts_at_their_places() -> None:
    random = np.random.default_rng(0)
    names = ["Fp1", "Fp2", "Cz", "Oz"]
    fig = explain.frequency_heat(random.normal(size=(4, 50)), np.linspace(0, 50, 50), names, 1.0, "logits per area")
    svg = static.picture(fig, "svg", column=89).decode()
    for text in ("logits per area", "Frequency, Hz", "alpha", "Oz"):
        assert text in svg


def test_the_numbers_have_the_names_of_the_axes() -> None:
    fig = theme.figure(200, {"title": "Subject"}, {"title": "Accuracy, %"})
    fig.add_trace(go.Bar(name="Vision", x=["1", "2"], y=[50.0, 100 / 3]))
    frame = figure_data.for_people(fig)
    assert frame.to_dict("list") == {"series": ["Vision"] * 2, "Subject": ["1", "2"], "Accuracy, %": [50.0, 33.3333]}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("many")
    names = [str(n) for n in range(1, 13)]
    return tables.scores(make_study(folder, subjects=names, trials=2, windows=1, beside=False))


def test_many_subjects_have_a_panel_per_stage(many: pd.DataFrame) -> None:
    assert BARS_IN_A_PANEL < 13 * 4
    fig = subject_bars(many, many, 5, {}, paper=paper.table1())
    bars = [t for t in fig.data if isinstance(t, go.Bar)]
    assert [(t.name, t.yaxis) for t in bars] == [("Vision", "y"), ("Audio", "y2"), ("EEG", "y3"), ("Fusion", "y4")]
    assert len({tuple(t.x) for t in bars}) == 1, "subjects are in the same place in all panels"
    assert [fig.layout[f"yaxis{n or ''}"].title.text for n in ("", 2, 3, 4)] == [
        "Vision, %",
        "Audio, %",
        "EEG, %",
        "Fusion, %",
    ]
    domains = [fig.layout[f"yaxis{n or ''}"].domain for n in ("", 2, 3, 4)]
    assert all(above[0] > below[1] - 1e-9 for above, below in pairwise(domains))
    marks = [t for t in fig.data if t.name == "paper, Table I"]
    assert [t.showlegend for t in marks] == [True, False, False, False]
    few = subject_bars(many[many["subject"].isin(["1", "2"])], many, 5, {})
    assert {t.yaxis for t in few.data} == {"y"}


def test_sorted_dots_fall_from_left_to_right_in_every_panel(many: pd.DataFrame) -> None:
    fig = subject_bars(many, many, 5, {}, dots=True)
    dots = [t for t in fig.data if t.name in ("Vision", "Audio", "EEG", "Fusion")]
    assert len(dots) == 4
    for trace in dots:
        axis = fig.layout[f"xaxis{trace.xaxis[1:]}"]
        of = dict(zip(trace.x, trace.y, strict=True))
        values = [of[name] for name in axis.categoryarray if name != AVERAGE]
        assert values == sorted(values, reverse=True)
        assert axis.categoryarray[-1] == AVERAGE
        assert trace.error_y.array is not None
