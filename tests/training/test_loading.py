"""Batches loaded by a background thread: the same ones in the same order, and errors in their place."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from eavdash.training.loading import ModelOutput, Source, prefetch, stream

CPU = torch.device("cpu")


class Noisy(Source):
    """Windows that are their number plus noise from the epoch's generator."""

    labels = torch.arange(8)

    def load(self, model, rows, augment):
        return (rows + torch.rand(len(rows), generator=augment),)

    def forward(self, model, loaded):
        return ModelOutput(loaded[0])

    def items(self, loaded):
        return torch.ones(len(loaded[0]), dtype=torch.int64)


def noise(source) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    parts = torch.arange(8).split(4)
    with stream(torch.nn.Linear(1, 1), source, parts, random, CPU) as batches:
        return [torch.cat([b.forward(slice(0, 2)).logits, b.forward(slice(2, 4)).logits]) for b in batches]


def test_repeating_a_batch_gives_the_same_windows():
    source = Noisy()
    random = torch.Generator().manual_seed(0)
    with stream(torch.nn.Linear(1, 1), source, torch.arange(8).split(4), random, CPU) as batches:
        for batch in batches:
            first = batch.forward(slice(0, 4)).logits
            assert torch.equal(batch.forward(slice(0, 4)).logits, first)
            assert torch.equal(batch.forward(slice(0, 2)).logits, first[:2])
    assert all(torch.equal(a, b) for a, b in zip(noise(source), noise(source), strict=True))


def test_prefetched_results_are_in_order_and_a_few_ahead():
    started = []

    def work(item: torch.Tensor) -> int:
        started.append(int(item))
        return int(item) * 2

    with prefetch(work, torch.arange(20), ahead=2) as results:
        first = next(results)
        deadline = time.monotonic() + 5
        while len(started) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert first == 0
        assert 3 <= len(started) <= 4  # one taken, two ready, one more waiting for the queue
        assert [first, *results] == [2 * i for i in range(20)]


def test_an_error_of_the_thread_is_raised_in_its_place():
    def work(item: torch.Tensor) -> int:
        if item == 2:
            raise OSError("recording is gone")
        return int(item)

    done = []
    with pytest.raises(OSError, match="recording is gone"), prefetch(work, torch.arange(5)) as results:
        done.extend(iter(lambda: next(results), None))
    assert done == [0, 1]


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    with prefetch(lambda item: int(item), torch.arange(1000)) as results:
        next(results)
    assert threading.active_count() == before


def test_prefetched_windows_are_the_same(monkeypatch):
    """Uses the background thread as for a GPU, without page-locked memory."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    parts = torch.arange(8).split(3)
    found = []
    for device in (CPU, torch.device("cuda")):
        random = torch.Generator().manual_seed(0)
        with stream(torch.nn.Linear(1, 1), Noisy(), parts, random, device) as batches:
            found.append(torch.cat([b.forward(slice(0, len(b.rows))).logits for b in batches]))
    assert torch.equal(*found)
