"""Choice of how each stage is fitted where the settings leave it open (``train.STAGE.fit = auto``).

In: a configuration. Out: one in which every stage says ``gradient`` or ``linear``; planning freezes it in study.json.
"""

from __future__ import annotations

from dataclasses import replace

from eavdash.config.checks import gradients_needed
from eavdash.config.choices import STAGES
from eavdash.config.schema import StudyConfig

#: Encoders of which nothing but the last linear layer is trained.
LINEAR = ("tangent",)


def with_fit(config: StudyConfig) -> StudyConfig:
    """Return ``config`` with a choice for each stage that has none: linear for :data:`LINEAR`, else gradient."""
    made = {}
    for stage in STAGES:
        linear = stage != "fusion" and config.modality(stage).encoder in LINEAR and not gradients_needed(config)
        settings = getattr(config.train, stage)
        made[stage] = replace(settings, fit="linear" if linear else "gradient") if settings.fit == "auto" else settings
    return replace(config, train=replace(config.train, **made))
