"""Checks of a map: a linear model passes them with its closed forms, and planted defects do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from linear_model import TARGET, explained, linear_model, with_maps
from torch import Tensor

from eavdash.explain.attributions import Output
from eavdash.explain.check_record import Check, worst
from eavdash.explain.receipts import curves
from eavdash.explain.receipts.cells import Cells
from eavdash.explain.receipts.noise import NOISE, with_noise
from eavdash.explain.receipts.question import ExplainedInputs, ExplainedWindowInputs
from eavdash.explain.receipts.ranks import rank_correlation
from eavdash.explain.receipts.registry import CHECKS, check_explanation

MAP_CHECKS = [name for name, kind in CHECKS.items() if kind.of == "map"]


@pytest.fixture(scope="module")
def question() -> ExplainedInputs:
    return explained(linear_model())


@pytest.fixture(scope="module")
def good(question: ExplainedInputs) -> dict[str, Check]:
    return by_name(check_explanation(question))


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_linear_model_passes_every_check(good: dict[str, Check]) -> None:
    assert list(good) == MAP_CHECKS
    assert {name: check.verdict for name, check in good.items()} == dict.fromkeys(MAP_CHECKS, "pass")
    assert good["completeness"].value == pytest.approx(0, abs=1e-4)
    assert good["infidelity"].value == pytest.approx(0, abs=1e-6)
    assert good["deletion"].value == good["insertion"].value == 1
    assert worst(good.values()) == "pass"


def test_checks_are_the_same_bits_twice(good: dict[str, Check]) -> None:
    assert by_name(check_explanation(explained(linear_model()))) == good


def test_curves_of_a_linear_model_are_sums_of_its_map(question: ExplainedInputs) -> None:
    expected = {"deletion": 0.0, "insertion": 0.0}
    for window in question.windows:
        values, modality = window.cell_values, window.cells.modality
        for name, best_first in (("deletion", True), ("insertion", False)):
            for level in curves.LEVELS:
                gone = torch.tensor(0.0, dtype=torch.float64)
                for place in range(3):
                    own = values[modality == place].sort(descending=best_first).values
                    gone += own[torch.arange(len(own)) / len(own) < level].sum()
                expected[name] += float(window.output - gone) / len(curves.LEVELS) / len(question.windows)
    found = curves.areas(question, "baseline")
    assert {name: area for name, (area, _) in found.items()} == pytest.approx(expected, abs=1e-4)


def test_sensitivity_of_a_linear_model_is_that_of_its_input(question: ExplainedInputs) -> None:
    changes = []
    for window, (copies, _) in zip(question.strongest, question.noisy, strict=True):
        weights = {m: window.attributions[m] for m in window.inputs}
        for copy in range(2):
            change = torch.cat(
                [
                    (
                        question.attribute({k: x[copy : copy + 1] for k, x in copies.items()}, window.masks)[m] - a
                    ).flatten()
                    for m, a in weights.items()
                ]
            )
            changes.append(float(change.norm() / torch.cat([a.flatten() for a in weights.values()]).norm()))
    assert by_name(check_explanation(question))["sensitivity"].value == pytest.approx(max(changes), rel=1e-4)


def stretched(modality: str, found: Tensor) -> Tensor:
    """A map whose time axis is stretched by a quarter, as one drawn over the padding would be."""
    axis = 2 if modality == "eeg" else 1
    size = found.shape[axis]
    return found.index_select(axis, (torch.arange(size) * 0.8).long())


def swapped(modality: str, found: Tensor) -> Tensor:
    return found.roll(1, dims=1) if modality == "eeg" else found


def shuffled(_: str, found: Tensor) -> Tensor:
    order = torch.randperm(found.numel(), generator=torch.Generator().manual_seed(0))
    return found.flatten()[order].reshape(found.shape)


@pytest.mark.parametrize("defect", [stretched, swapped, shuffled])
def test_a_map_with_misplaced_values_fails(question: ExplainedInputs, defect: Callable[[str, Tensor], Tensor]) -> None:
    maps = [{m: defect(m, a) for m, a in window.attributions.items()} for window in question.windows]
    found = by_name(check_explanation(with_maps(question, maps)))
    assert worst(found.values()) == "fail"
    if defect is not swapped:  # the values of two other modalities are in their places
        assert found["stability"].verdict == "fail"
    assert found["sensitivity"].value > 2 * by_name(check_explanation(question))["sensitivity"].value


def test_the_map_of_another_class_fails(question: ExplainedInputs) -> None:
    other = explained(linear_model(), output=Output(2))
    found = by_name(check_explanation(with_maps(question, [dict(w.attributions) for w in other.windows])))
    for name in ("completeness", "stability", "sensitivity", "infidelity"):
        assert found[name].verdict == "fail", name


def test_values_where_nothing_is_recorded_break_completeness(question: ExplainedInputs) -> None:
    window = question.windows[0]
    masks = {m: mask.clone() for m, mask in window.masks.items()}
    masks["audio"][:, 20:] = False
    parts = {**vars(window), "masks": masks}
    kept = {name: parts[name] for name in ExplainedWindowInputs.__dataclass_fields__}
    asked = ExplainedInputs(question.model, [ExplainedWindowInputs(**kept)], TARGET, question.attribute)
    assert by_name(check_explanation(asked))["completeness"].verdict == "fail"


def test_a_window_with_nothing_to_explain_is_not_checked() -> None:
    question = explained(linear_model())
    still = [dict(w.baselines) for w in question.windows]
    windows = [
        ExplainedWindowInputs(x, w.masks, {m: torch.zeros_like(a) for m, a in w.attributions.items()}, x, 0.0, 0.0)
        for w, x in zip(question.windows, still, strict=True)
    ]
    found = by_name(check_explanation(ExplainedInputs(question.model, windows, TARGET, question.attribute)))
    assert found.pop("completeness").verdict == "pass"
    assert {check.verdict for check in found.values()} == {"not run"}
    assert all("Nothing to explain" in check.reason for check in found.values())


def test_a_run_without_training_windows_has_no_curves(question: ExplainedInputs) -> None:
    windows = [
        ExplainedWindowInputs(w.inputs, w.masks, w.attributions, w.baselines, w.output, w.baseline)
        for w in question.windows
    ]
    found = by_name(check_explanation(ExplainedInputs(question.model, windows, TARGET, question.attribute)))
    assert found["deletion"].verdict == found["insertion"].verdict == "not run"
    assert found["infidelity"].verdict == "pass"


def test_cells_leave_masked_samples_out_and_keep_every_sum(question: ExplainedInputs) -> None:
    window = question.windows[0]
    masks = {m: mask.clone() for m, mask in window.masks.items()}
    masks["eeg"][:, 25:] = False
    cells = Cells.of(window.attributions, masks)
    assert cells.count == window.cells.count - 6 * 5
    total = sum(float(a.double().sum()) for m, a in window.attributions.items() if m != "eeg")
    total += float(window.attributions["eeg"][..., :25].double().sum())
    assert float(cells.sums(window.attributions).sum()) == pytest.approx(total, abs=1e-9)
    everything = torch.ones(1, cells.count, dtype=torch.bool)
    replaced = cells.replaced(window.inputs, window.baselines, everything)
    assert torch.equal(replaced["vision"], window.baselines["vision"])
    assert torch.equal(replaced["eeg"][..., :25], window.baselines["eeg"][..., :25])
    assert torch.equal(replaced["eeg"][..., 25:], window.inputs["eeg"][..., 25:])


def test_noise_has_each_modalitys_own_scale(question: ExplainedInputs) -> None:
    window = question.windows[0]
    inputs = {**window.inputs, "eeg": window.inputs["eeg"] * 1e-5}
    inputs["eeg"][:, 0] *= 10
    masks = {m: mask.clone() for m, mask in window.masks.items()}
    masks["audio"][:, 30:] = False
    noisy = with_noise(inputs, masks, torch.Generator().manual_seed(0))
    change = (noisy["eeg"] - inputs["eeg"]).std(dim=2)
    assert change[0, 0] == pytest.approx(NOISE * 1e-4, rel=0.5)
    assert change[0, 1] == pytest.approx(NOISE * 1e-5, rel=0.5)
    assert torch.equal(noisy["audio"][:, 30:], inputs["audio"][:, 30:])
    assert noisy["vision"].min() >= 0
    assert noisy["vision"].max() <= 1


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    random = torch.Generator().manual_seed(0)
    a = torch.randint(0, 9, (50,), generator=random)
    b = torch.randn(50, generator=random) + a
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.numpy(), b.numpy()).statistic)
    assert rank_correlation(a, torch.ones(50)) == 0


def test_the_worst_verdict_is_that_of_all() -> None:
    def made(*verdicts: str) -> list[Check]:
        return [Check.model_validate({"name": "x", "verdict": verdict, "reason": ""}) for verdict in verdicts]

    assert worst([]) == worst(made("not run")) == "not run"
    assert worst(made("pass", "not run")) == "pass"
    assert worst(made("pass", "doubtful")) == "doubtful"
    assert worst(made("doubtful", "fail", "pass")) == "fail"


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_has_a_function_and_words(name: str) -> None:
    kind = CHECKS[name]
    assert callable(kind.function)
    assert kind.label
    assert kind.asks.endswith("?")
