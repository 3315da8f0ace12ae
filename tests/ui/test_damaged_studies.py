"""Pages on a checkpoints folder in which every other study is damaged in another way."""

from __future__ import annotations

from pathlib import Path

import pytest
from damage import CONTROL, STUDY, damaged_studies, damaged_study
from test_pages import PAGES, checkpoints, open_page, page_text

__all__ = ["checkpoints"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_the_good_study(checkpoints: Path, page: str) -> None:
    names = damaged_studies(checkpoints)
    app = open_page(page, {"study": "good"})
    assert not app.exception
    picker = next(box for box in app.sidebar.selectbox if box.key == "study")
    assert picker.value == "good"
    assert sorted(picker.options) == sorted(["good", *(f"{name} (damaged)" for name in names)])


def test_the_list_of_studies_has_a_row_for_each(checkpoints: Path) -> None:
    names = damaged_studies(checkpoints)
    app = open_page("studies")
    table = app.dataframe[0].value.set_index("Study")
    assert set(table.index) == {"good", *names}
    assert table.loc["good", "State"] == "done"
    assert table.loc[names, "State"].str.startswith("damaged").all()
    assert len(app.main.error) == len(names)


@pytest.mark.parametrize("name", [*STUDY, *CONTROL])
def test_a_page_of_a_damaged_study_says_why(checkpoints: Path, name: str) -> None:
    damaged_study(checkpoints, name)
    for page in ("subjects", "monitor", "studies", "launch"):
        app = open_page(page, {"study": name, "training_studies_choice": name})
        assert not app.exception, page
        assert ("control.json" if name in CONTROL else "study.json") in page_text(app).replace("\\", "") + " ".join(
            e.value.replace("\\", "") for e in app.error
        ), page
