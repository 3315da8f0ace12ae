"""The encoders: what each reads, its licence and size, what it needs, and whether that is at hand.

In: nothing, or the folder of weights that a setting names. Out: one :class:`Entry` per encoder, for the command
``encoders``, the launch form, docs/models.md and the preset ``frozen``. An entry is offered once the configuration
accepts its name (``eavdash.config.choices``). No encoder is built and no library is imported; packages are found by
their metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from eavdash.config.choices import ENCODERS, LIBRARIES

_ANY = "NAME"  # stands for the name of a library's model
_SAMPLES = "EEG window, any channels, eeg.rate"


@dataclass(frozen=True)
class Entry:
    """One encoder. ``name``: as ``MODALITY.encoder`` takes it; of a library, its prefix and ``NAME``.

    ``weights``: ``none`` (trained from scratch), ``folder`` (from scratch, or from the folder that ``MODALITY.weights``
    names), ``required`` (such a folder is needed) or ``included`` (frozen features that need no folder).
    """

    name: str
    modality: str
    title: str
    expects: str
    licence: str
    size: str
    needs: str = "nothing"
    trained: str = "from scratch"
    weights: str = "none"
    package: str = ""  # the distribution that must be installed
    file: str = ""  # the end of the name of a file that it must contain
    examples: tuple[str, ...] = ()  # names to offer of a library's models

    @property
    def offered(self) -> bool:
        """Return True if the configuration accepts the encoder."""
        return self.name in names(self.modality)

    @property
    def values(self) -> tuple[str, ...]:
        """The values of the setting that a form offers."""
        return self.examples or (self.name,)

    @property
    def missing(self) -> str:
        """Return what has to be installed first; empty if all that the encoder needs is installed."""
        return "" if not self.package or _installed(self.package, self.file) else self.needs

    def at_hand(self, weights: str = "") -> bool:
        """Return True if the encoder can start from pretrained weights or fixed features, with this setting."""
        given = self.weights == "included" or (self.weights in ("folder", "required") and bool(weights))
        return given and not self.missing

    @property
    def summary(self) -> str:
        """A sentence about the encoder."""
        needs = f"Not installed: {self.missing}." if self.missing else f"Needs {self.needs}."
        return f"Reads {self.expects}. Licence: {self.licence}. Size: {self.size}. Trained {self.trained}. {needs}"


_table = partial(
    Entry,
    "table",
    title="a table of features",
    licence="own code",
    size="below 1 M",
    needs="a table with a time column for each recording",
)
CATALOGUE = (
    Entry(
        "vit",
        "vision",
        "ViT on frames",
        "face crops of vision.size pixels (of the weights' size, if given)",
        "own code; weights: the checkpoint's",
        "0.25 M (quick), 86 M (paper)",
        trained="from scratch, or fine-tuned or frozen from vision.weights",
        weights="folder",
    ),
    Entry(
        f"timm:{_ANY}",
        "vision",
        "a ViT-like or convolutional model of timm on frames",
        "face crops of vision.size pixels, a multiple of the model's patch or stride",
        "timm: Apache-2.0; weights: the checkpoint's (vit_small_patch16_dinov3: DINOv3 licence)",
        "timm's (vit_small_patch16_dinov3: 23 M)",
        trained="from scratch, or fine-tuned or frozen from vision.weights",
        weights="folder",
        examples=("timm:vit_small_patch16_dinov3",),
    ),
    Entry(
        "ast",
        "audio",
        "AST on log-mel",
        "log-mel spectrogram, audio.mels bands, 10 ms frames",
        "own code; weights: the checkpoint's (AudioSet: BSD-3-Clause)",
        "0.3 M (quick), 86 M (paper)",
        trained="from scratch, or fine-tuned or frozen from audio.weights",
        weights="folder",
    ),
    Entry(
        "voice",
        "audio",
        "speaker encoder",
        "mel spectrogram of 40 bands, 16 kHz",
        "Apache-2.0 (Resemblyzer)",
        "17 MB",
        needs="the weights' file: pip install --no-deps Resemblyzer==0.1.4",
        trained="frozen or fine-tuned from the package's file",
        weights="included",
        package="Resemblyzer",
        file="pretrained.pt",
    ),
    Entry(
        "wav2vec2",
        "audio",
        "wav2vec 2.0, HuBERT or WavLM",
        "raw wave, 16 kHz",
        "the checkpoint's (base models of wav2vec 2.0 and HuBERT: Apache-2.0)",
        "95 M (base)",
        needs="audio.weights=FOLDER, saved by Hugging Face",
        trained="frozen or fine-tuned from audio.weights",
        weights="required",
    ),
    Entry(
        "eegformer",
        "eeg",
        "EEGformer",
        f"{_SAMPLES}, at least 27 samples + eeg.width",
        "own code (after Wan et al. 2023)",
        "0.06 M (quick, 30 channels)",
    ),
    Entry(
        "yin",
        "eeg",
        "published EEG transformer",
        _SAMPLES,
        "own code (after Yin et al. 2025)",
        "0.03 M (quick), 0.12 M (paper)",
    ),
    Entry(
        "tangent",
        "eeg",
        "tangent space and band power",
        f"{_SAMPLES}, at least two channels",
        "own code (after pyriemann, BSD-3-Clause)",
        "no weights; a linear head",
        trained="fixed features, a linear head",
        weights="included",
    ),
    Entry(
        f"braindecode:{_ANY}",
        "eeg",
        "a model of braindecode",
        "EEG window; rate, channels and length that the model accepts",
        "braindecode: BSD-3-Clause; weights: the checkpoint's",
        "braindecode's (EEGNet: 0.003 M)",
        needs="pip install 'eavdash[braindecode]'",
        trained="from scratch, or fine-tuned or frozen from eeg.weights",
        weights="folder",
        package="braindecode",
        examples=("braindecode:EEGNet", "braindecode:ShallowFBCSPNet"),
    ),
    _table(modality="vision", expects="columns of a table over time, such as OpenFace's action units"),
    _table(modality="audio", expects="columns of a table over time, such as openSMILE's"),
)


def names(modality: str) -> tuple[str, ...]:
    """Return what the configuration accepts as a modality's encoder: names, and a library's prefix with ``NAME``."""
    return (*ENCODERS[modality], *([LIBRARIES[modality] + _ANY] if modality in LIBRARIES else []))


def offered(modality: str = "") -> tuple[Entry, ...]:
    """Return the entries of the encoders that the configuration accepts, of one modality or of all."""
    return tuple(entry for entry in CATALOGUE if entry.offered and modality in ("", entry.modality))


def entry_of(modality: str, encoder: str) -> Entry | None:
    """Return the entry of a value of the setting ``MODALITY.encoder``, or None if there is none."""
    library, colon, _ = encoder.partition(":")
    name = f"{library}:{_ANY}" if colon else encoder
    return next((entry for entry in CATALOGUE if (entry.name, entry.modality) == (name, modality)), None)


def _installed(package: str, file: str) -> bool:
    """Return True if a distribution is installed and, if ``file`` is given, has a file whose name ends so."""
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return not file or any(path.name == file and Path(path.locate()).is_file() for path in found.files or ())
