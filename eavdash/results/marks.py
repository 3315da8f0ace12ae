"""The marks that a study's scores carry wherever they are shown: what was done that an honest estimate would not do,
or that a reader must know before comparing.

In: study.json. Out: marks, each a short text and its reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eavdash.config.convert import from_dict
from eavdash.config.schema import StudyConfig
from eavdash.errors import IntegrityError
from eavdash.results import paper


@dataclass(frozen=True)
class Mark:
    """``text``: what stands beside a score. ``why``: sentences."""

    text: str
    why: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Both, as one line."""
        return f"{self.text}: {' '.join(self.why)}"


TRANSDUCTIVE = Mark(
    "transductive",
    (
        "Each subject's EEG and sound are standardised by all of that subject's windows, those of the test trials "
        "included (their labels are not used): the scores are those of a system that has recorded a person's whole "
        "session before it decides about any of it.",
    ),
)
TEST_EPOCH = Mark(
    "epoch chosen on the test trials: not an estimate",
    (
        "As published, the epoch that scores best on the test trials is kept; the points that this adds are shown "
        "beside the scores.",
    ),
)
POOLED = Mark(
    "pooled",
    (
        "Every subject's encoders start from those trained on the training trials of all subjects in the same fold; "
        "nobody's test trials of that fold are in them.",
    ),
)
JOINT = Mark(
    "joint fine-tuning: beyond the paper",
    ("After the fusion, encoders and fusion are trained together; the published procedure keeps the encoders frozen.",),
)


def marks(document: dict[str, Any]) -> tuple[Mark, ...]:
    """The marks of a study, by its document study.json.

    Raises:
        IntegrityError: the document holds no configuration. ConfigError: it holds one that is none.
    """
    if not isinstance(document.get("config"), dict):
        raise IntegrityError.at(
            f"study.json of {document.get('name') or 'a study'}",
            expected="the study's configuration",
            found="none",
            remedy="restore the file, or train the study again",
        )
    return marks_of(from_dict(document["config"]))


def marks_of(config: StudyConfig) -> tuple[Mark, ...]:
    """The marks of a configuration."""
    protocol = config.protocol
    every = (
        (protocol.name == "paper", Mark(paper.MARK, paper.WHY)),
        (protocol.test_epoch, TEST_EPOCH),
        (protocol.subject_scaling, TRANSDUCTIVE),
        (protocol.pooled, POOLED),
        ("fusion" in config.stages and config.fusion.joint_epochs > 0, JOINT),
    )
    return tuple(mark for holds, mark in every if holds)
