"""The benchmark of ranks: planted reliabilities in order correlate, shuffled ones do not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "reliability_ranks.py"
RELIABILITY = {"4": {"vision": 0.5, "audio": 0.9, "eeg": 0.0}, "5": {"vision": 0.8, "audio": 0.0, "eeg": 0.4}}


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reliability_ranks", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DRAWS", 200)
    return module


def test_ranks_in_order_and_shuffled(benchmark: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text(json.dumps({"reliability": RELIABILITY}))
    cells = benchmark.planted(tmp_path).reset_index()
    assert len(cells) == 6
    cells["share"] = cells["reliability"] ** 3
    value, low, high = benchmark.rank_correlation(cells, "share")
    assert value == pytest.approx(1)
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)
    cells["share"] = -cells["reliability"]
    assert benchmark.rank_correlation(cells, "share")[0] == pytest.approx(-1)
    random = np.random.default_rng(0)
    many = pd.concat([cells.assign(subject=f"{n} " + cells["subject"]) for n in range(20)], ignore_index=True)
    many["share"] = random.normal(size=len(many))
    value, low, high = benchmark.rank_correlation(many, "share")
    assert abs(value) < 0.3
    assert low < 0 < high
