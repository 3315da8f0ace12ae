"""Vectors of the test trials of a finished run: its encoders' tokens, and what its fusion's last layer sees.

In: a finished run. Out: a row per trial and space (:data:`eavdash.results.representations.COLUMNS`). Features come from
the cache (:mod:`eavdash.training.features`) or are computed from the recordings. A window is the mean over its recorded
tokens, a trial the mean over its windows.

The last layer of ``transformer``, ``concat`` and ``paper`` is the last linear one of their MLP; it sees the activations
before it (of ``paper``, the mean over frames). ``attention`` has none: it scales the pooled log-probabilities of its
encoders, which stand for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.errors import DataError, IntegrityError, UsageError
from eavdash.models.base import last_linear
from eavdash.models.fusion import Fusion
from eavdash.models.layers import masked_mean
from eavdash.models.seeds import reproducible
from eavdash.store import RunDir
from eavdash.training.features import features
from eavdash.training.finished import load_finished
from eavdash.training.fusion_features import FusionFeatures, join_features
from eavdash.training.run import torch_device
from eavdash.training.run_context import open_run_context, read_windows, rows_of

BATCH = 256  # windows at once, without gradients


def represent(run: RunDir, device: str = "cpu", threads: int = 1) -> pd.DataFrame:
    """Return subject, trial, space and values of a finished run's test trials.

    Raises:
        UsageError: the run is not done. EavdashError: its files or recordings are damaged or have changed.
    """
    status = run.status()
    if status.state != "done":
        raise UsageError.at(run.path, expected="a finished run", found=status.state, remedy="wait until it is done")
    if damage := run.damage(status):
        raise IntegrityError(damage)
    where = torch_device(device)
    with reproducible(where, threads):
        context = open_run_context(run, where)
        if context.stage == "fusion":
            fusion, joined = load_finished(context)
        else:
            windows = read_windows(context, context.stage, context.info.input.channels)
            if windows is None:
                remedy = "restore the recordings that it was trained on"
                expected = f"recordings of {context.stage}"
                raise DataError.at(run.path, expected=expected, found="none", remedy=remedy)
            fusion, joined = None, join_features({context.stage: features(run, windows, where)})
        tested = torch.as_tensor(rows_of(joined.index, "test"), dtype=torch.int64)
        index = joined.index.iloc[tested.numpy()].reset_index(drop=True)
        parts = []
        for modality, (tokens, masks, _) in joined.parts().items():
            mask = masks[tested]
            parts.append(_by_trial(index, modality, masked_mean(tokens[tested], mask), mask.any(dim=1)))
        if fusion is not None:
            seen = torch.cat([_seen(fusion, joined, at, where) for at in torch.split(tested, BATCH)])
            parts.append(_by_trial(index, "fusion", seen, torch.ones(len(seen), dtype=torch.bool)))
    return pd.concat(parts, ignore_index=True)


def _seen(fusion: Fusion, joined: FusionFeatures, rows: Tensor, device: torch.device) -> Tensor:
    """Return what the last layer sees of some windows, (window, D)."""
    parts = {name: [value[rows].to(device) for value in part] for name, part in joined.parts().items()}
    tokens, masks, logits = ({name: part[i] for name, part in parts.items()} for i in range(3))
    head = getattr(fusion, "head", None)
    last = last_linear(head) if isinstance(head, nn.Module) else None
    caught: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, given: caught.append(given[0])) if last is not None else None
    try:
        with torch.no_grad():
            made = fusion(tokens, masks, logits)
    finally:
        if hook is not None:
            hook.remove()
    seen = caught[0] if caught else made.logits
    if len(seen) != len(rows):  # one of each frame
        seen = _over_frames(seen.unflatten(0, (len(rows), -1)), masks)
    return seen.float().cpu()


def _over_frames(seen: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
    """Return means over the recorded frames (B, F, D); of a window without frames, the first."""
    recorded = masks["vision"].clone()
    recorded[:, 0] |= ~recorded.any(dim=1)
    return masked_mean(seen, recorded)


def _by_trial(index: pd.DataFrame, space: str, values: Tensor, recorded: Tensor) -> pd.DataFrame:
    """Return the mean over the recorded windows of each trial."""
    rows = pd.DataFrame(values[recorded].numpy())
    keys = index[recorded.numpy()].reset_index(drop=True)
    means = rows.groupby([keys["subject"], keys["trial"]], sort=False).mean()
    frame = means.index.to_frame(index=False)
    return frame.assign(space=space, values=list(means.to_numpy(np.float32)))
