"""Scalp maps of one value per electrode, as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np


def scalp(values: np.ndarray, channels: Sequence[str], limit: float, unit: str, dark: bool, note: str) -> bytes | str:
    """Draw a scalp map (PNG) of one value per channel with ``mne.viz.plot_topomap``; a sentence if that is impossible.

    Electrodes are at the positions of their system, 10-05 or a maker's; other channels are left out. ``limit``: the
    magnitude with the full colour. ``unit``: of the values, at the colour bar. ``dark``: for a dark page. ``note``:
    shown above and framed in grey, if the map is not to be believed.
    """
    import mne
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    from eavdash.data.eeg.electrodes import montage, system_of

    system = montage(system_of(channels))
    positions = system.get_positions()["ch_pos"]
    known = [i for i, name in enumerate(channels) if name in positions]
    if len(known) < 4:
        return f"No scalp map: it needs 4 channels with a standard position, found {len(known)} of {len(channels)}."
    names = [channels[i] for i in known]
    info = mne.create_info(names, 100.0, "eeg")
    info.set_montage(system, verbose="error")
    data = np.asarray(values, float)[known]
    ink = "#e6e6e6" if dark else "#31333f"
    fig = Figure(figsize=(3.8, 3.2), dpi=140)
    FigureCanvasAgg(fig)
    axes = fig.subplots()
    shown = names if len(names) <= 32 else None
    colours = LinearSegmentedColormap.from_list("", ["#0571b0", "#262730" if dark else "#f7f7f7", "#ca0020"])
    image, _ = mne.viz.plot_topomap(
        data, info, axes=axes, show=False, cmap=colours, vlim=(-limit, limit), names=shown, contours=0
    )
    for text in axes.texts:
        text.set_fontsize(5)
        text.set_color(ink)
    for line in axes.lines:
        line.set_color(ink)
    bar = fig.colorbar(image, ax=axes, shrink=0.6)
    bar.set_label(unit, size=7, color=ink)
    bar.ax.tick_params(labelsize=7, colors=ink)
    bar.outline.set_edgecolor(ink)
    if note:
        axes.set_title(note, fontsize=7, color="#8a8a8a", wrap=True)
        fig.patch.set(edgecolor="#8a8a8a", linewidth=4)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", facecolor="none", edgecolor=fig.get_edgecolor(), bbox_inches="tight")
    return buffer.getvalue()
