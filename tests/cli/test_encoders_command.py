"""``eavdash encoders``: the list of the catalogue, as a table and as JSON."""

from __future__ import annotations

import json

from eavdash.cli.main import main
from eavdash.models import catalogue


def test_the_list_has_every_encoder_that_a_study_may_use(capsys) -> None:
    assert main(["encoders", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["setting"] for row in rows] == [f"{e.modality}.encoder={e.name}" for e in catalogue.offered()]
    (vit,) = (row for row in rows if row["setting"] == "vision.encoder=vit")
    entry = catalogue.entry_of("vision", "vit")
    assert entry
    assert (vit["input"], vit["licence"], vit["size"]) == (entry.expects, entry.licence, entry.size)
    assert vit["installed"] is True


def test_what_is_not_installed_is_said(capsys, monkeypatch) -> None:
    monkeypatch.setattr(catalogue, "_installed", lambda package, file: False)
    assert main(["encoders", "--json"]) == 0
    (row,) = (row for row in json.loads(capsys.readouterr().out) if "braindecode" in row["setting"])
    assert (row["installed"], row["needs"]) == (False, "pip install 'eavdash[braindecode]'")
    assert main(["encoders"]) == 0
    shown = capsys.readouterr().out
    assert "eeg.encoder=yin" in "".join(shown.split())
    assert "no" in shown.split()
