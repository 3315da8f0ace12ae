"""All methods that make a map: what each is called, what it says, where it starts from. Command line, pages and
documents read this table.

Needs no torch: the functions that compute the maps are named here and imported when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eavdash.config.choices import STAGES
from eavdash.config.convert import recorded_config

if TYPE_CHECKING:
    from eavdash.store import RunDir

#: Passes forwards that take as long as one forwards and backwards.
FORWARDS = 3
#: The most parts that occlusion replaces in a window, each with a pass forwards of that modality's encoder: patches of
#: groups of frames, patches of the spectrogram, and segments and bands of each electrode.
_FRAMES, _PATCHES, _SPECTROGRAM, _ELECTRODE = 10, 64, 160, 15
NONE = "none"  # the baseline of methods without any
SHARE = "share of attention"  # the unit of methods that show attention


@dataclass(frozen=True)
class MethodKind:
    """One method.

    ``baselines``: those that it can start from, the default first. ``attribution``: False for maps of attention, which
    do not say what supports a class. ``complete``: the map sums to the output minus that at the baseline. ``reads``:
    by modality the beginnings of the names of the encoders that it can read; empty: any encoder. ``passes``: of a
    window through the encoders, forwards and backwards, that a map usually takes, and ``again`` one that is only
    compared (a check's); None: as many as there are parts to replace.
    """

    name: str
    label: str
    help: str
    source: str
    baselines: tuple[str, ...] = ()
    attribution: bool = True
    signed: bool = True
    complete: bool = False
    stages: tuple[str, ...] = STAGES
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    passes: float | None = None
    again: float | None = None

    def cost(self, modality: str, frames: float, channels: int, *, again: bool = False) -> float:
        """Return the passes of a map through a modality's encoder, of windows with so many ``frames`` or ``channels``.

        ``again``: of a map that is only compared.
        """
        passes = self.again if again else self.passes
        if passes is not None:
            return passes
        parts = {"vision": min(frames, _FRAMES) * _PATCHES, "audio": _SPECTROGRAM, "eeg": channels * _ELECTRODE}
        return parts[modality] / FORWARDS

    @property
    def function(self) -> Callable[[Any], Any]:
        """The function that maps one window: ``methods.asked.Asked`` → ``attributions.Attributed``."""
        found: Callable[[Any], Any] = getattr(import_module(f"eavdash.explain.methods.{self.name}"), self.name)
        return found

    @property
    def title(self) -> str:
        """The label, with what the map is not."""
        return self.label if self.attribution else f"{self.label} (not an attribution)"

    @property
    def row(self) -> str:
        """The method's row in the table of docs/explaining.md."""
        baselines = ", ".join(f"`{name}`" for name in self.baselines) or "none"
        sign = "for or against" if self.signed else "magnitude" if self.attribution else "share"
        sums = "yes" if self.complete else "no"
        return f"| `{self.name}` | {self.title} | {baselines} | {sign} | {sums} | {self.source} |"

    def unit(self, of_output: str) -> str:
        """Return the unit of the map's values, given that of the explained output."""
        if not self.attribution:
            return SHARE
        return of_output if self.signed else f"change of the {of_output} per unit of the scaled input"

    def lacking(self, encoders: Mapping[str, str]) -> str:
        """Return in a sentence why it has no map for these ``encoders`` (modality → name); empty if it has one."""
        if not self.reads or not encoders or any(self._can_read(modality, name) for modality, name in encoders.items()):
            return ""
        named = ", ".join(f"{modality} {name}" for modality, name in encoders.items())
        kinds = " or ".join(begins[0] for begins in self.reads.values())
        return f"{self.label} reads the attention inside encoders {kinds}, and this decision has {named}."

    def _can_read(self, modality: str, encoder: str) -> bool:
        return encoder.startswith(self.reads.get(modality, ())) and not any(part in encoder for part in _UNREAD)


#: Parts of names of timm's models that pool by another attention or run blocks side by side.
_UNREAD = ("siglip", "parallel", "_rpn_", "relpos")

METHODS: dict[str, MethodKind] = {
    kind.name: kind
    for kind in (
        MethodKind(
            name="integrated_gradients",
            label="Integrated gradients",
            help="How much each value moved the output on the straight way from one mean input.",
            source="Sundararajan et al. 2017",
            baselines=("mean",),
            complete=True,
            passes=100,  # 32 points, and halved parts of the way where the sum needs them
            again=16,
        ),
        MethodKind(
            name="expected_gradients",
            label="Expected gradients",
            help="How much each value moved the output on straight ways from training windows, averaged over them.",
            source="Erion et al. 2021",
            baselines=("mixed", "training"),
            complete=True,
            passes=100,  # 4 points on each of 12 ways, and halved parts
            again=24,
        ),
        MethodKind(
            name="gradient_shap",
            label="GradientSHAP",
            help="Expected gradients at random points of those ways: an estimate, whose sum is right on average only.",
            source="Lundberg & Lee 2017",
            baselines=("mixed", "training"),
            passes=96,  # 8 random points on each of 12 ways
            again=48,
        ),
        MethodKind(
            name="saliency",
            label="Saliency",
            help="How steeply the output changes with each value, up or down: sensitivity, not evidence for a class.",
            source="Simonyan et al. 2014",
            signed=False,
            passes=1,
            again=1,
        ),
        MethodKind(
            name="occlusion",
            label="Occlusion",
            help=(
                "How much the output falls when a part is replaced by the mean input: a patch of the face, of the "
                "spectrogram, a second of an electrode. By frequency: a band of an electrode is taken out."
            ),
            source="Zeiler & Fergus 2014",
            baselines=("mean",),
        ),
        MethodKind(
            name="attention_rollout",
            label="Attention rollout",
            help="Where ViT and AST look: their attention, multiplied through the layers. The same for every class.",
            source="Abnar & Zuidema 2020",
            attribution=False,
            signed=False,
            stages=("vision", "audio", "fusion"),
            reads={"vision": ("vit", "timm:vit_", "timm:deit"), "audio": ("ast",)},
            passes=1 / FORWARDS,
        ),
        MethodKind(
            name="electrode_attention",
            label="Electrode attention",
            help="The attention that each electrode gets from the others inside EEGformer. The same for every class.",
            source="Wan et al. 2023",
            attribution=False,
            signed=False,
            stages=("eeg", "fusion"),
            reads={"eeg": ("eegformer",)},
            passes=1 / FORWARDS,
        ),
    )
}


def encoder_names(run: RunDir) -> dict[str, str]:
    """Return the names of a run's encoders by modality."""
    info = run.config()
    config = recorded_config(info)
    modalities = (info.input.modalities or tuple(info.parents)) if info.stage == "fusion" else (info.stage,)
    return {m: str(config.modality(m).encoder) for m in modalities}


def lacking(method: str, run: RunDir) -> str:
    """Return in a sentence why a method has no map of the decisions of ``run``; empty if it has one.

    Raises:
        IntegrityError: the run's configuration is damaged.
    """
    return METHODS[method].lacking(encoder_names(run))
