"""How many windows the model takes at once, and what happens where memory is too small for them."""

from __future__ import annotations

import weakref
from dataclasses import replace

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
    assert str(replace(method, steps=4).attribute(*asked)) == "done"  # the next window begins with what fitted
    assert tried == [8, 4, 2, 2]
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        method.attribute(*asked)
    assert tried[-1] == 1


def test_the_failed_attempt_holds_no_memory_when_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    def attribute(*arguments: object) -> str:
        alive.extend(made() is not None for made in held)
        tensor = torch.zeros(10)
        held.append(weakref.ref(tensor))
        if len(held) == 1:
            raise torch.OutOfMemoryError("no memory")
        return "done"

    def empty_cache() -> None:
        alive.extend(made() is not None for made in held)

    monkeypatch.setattr(integrated_gradients, "integrated_gradients", attribute)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    monkeypatch.setattr(window_method, "_BATCH_NUMBERS", 80)
    monkeypatch.setattr(WindowMethod, "baselines", lambda self, inputs: {})
    monkeypatch.setattr(WindowMethod, "_wave", lambda self, modality: False)
    asked = {"eeg": torch.zeros(1, 2, 5)}, {"eeg": torch.ones(1, 5)}, Output(0, None)
    assert str(WindowMethod(FusedModel({}, None)).attribute(*asked)) == "done"
    assert alive == [False, False]
