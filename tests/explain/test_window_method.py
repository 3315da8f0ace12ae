"""How many windows the model takes at once, and what happens where memory is too small for them."""

from __future__ import annotations

import pytest
import torch

from eavdash.explain import window_method
from eavdash.explain.attributions import Output
from eavdash.explain.fused import FusedModel
from eavdash.explain.methods import integrated_gradients
from eavdash.explain.methods.asked import Asked
from eavdash.explain.window_method import WindowMethod


def test_the_batch_is_halved_where_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def attribute(asked: Asked) -> str:
        tried.append(asked.batch)
        if tried[-1] > most:
            raise torch.OutOfMemoryError("no memory")
        return "done"

    monkeypatch.setattr(integrated_gradients, "integrated_gradients", attribute)
    monkeypatch.setattr(window_method, "_BATCH_NUMBERS", 80)
    monkeypatch.setattr(WindowMethod, "baselines", lambda self, inputs: {})
    monkeypatch.setattr(WindowMethod, "_wave", lambda self, modality: False)
    method = WindowMethod(FusedModel({}, None))
    asked = {"eeg": torch.zeros(1, 2, 5)}, {"eeg": torch.ones(1, 5)}, Output(0, None)
    most = 3
    assert str(method.attribute(*asked)) == "done"
    assert tried == [8, 4, 2]
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        method.attribute(*asked)
    assert tried[-1] == 1
