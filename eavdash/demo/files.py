"""One simulated subject as EAV's files: names, formats, bytes.

In: the plan of a subject and its folder. Out: ``EEG/``, ``Audio/`` and ``Video/`` as in EAV. The same plan gives the
same bytes: the two headers that would contain the time of writing get a fixed text. Encoding is by PyAV (H.264) and
SciPy (MATLAB v5, float32 wav).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from scipy.io import savemat, wavfile

from eavdash.demo import eeg, face, voice
from eavdash.demo.plan import EMOTIONS, DemoSize, SubjectPlan, TrialPlan

#: The function that describes the markers of an emotion, per modality, for truth.json.
MARKERS = {"vision": face.markers, "audio": voice.markers, "eeg": eeg.markers}
_MAT_HEADER = b"MATLAB 5.0 MAT-file, simulated by eavdash"
_MAT_TEXT = 116  # bytes of free text at the beginning of a MATLAB v5 file


def places(seed: int, subject: int, size: DemoSize) -> dict[str, Any]:
    """The places that the markers name, in a subject's recordings: parts of the face, and cues of the voice."""
    return {**face.regions(face.appearance(seed, subject), size), **voice.bands(voice.speaker(seed, subject))}


def video_name(trial: TrialPlan) -> str:
    """File name of a trial's video; TT counts within blocks of 20 trials."""
    return f"{trial.number:03d}_Trial_{(trial.number - 1) % 20 + 1:02d}_{trial.condition}_{trial.label}.mp4"


def audio_name(trial: TrialPlan) -> str:
    """File name of a speaking trial's sound; TT *differs* from the video's, and one of EAV's names is capitalised."""
    ending = "Aud" if (trial.subject, trial.number) == (1, 2) else "aud"
    return f"{trial.number:03d}_Trial_{2 * -(-trial.number // 40):02d}_Speaking_{trial.label}_{ending}.wav"


def signal_key(subject: int) -> str:
    """Name of the array, as in EAV: ``seg`` for 11 of the 42 subjects and ``seg1`` for the others."""
    return "seg" if subject % 4 == 1 else "seg1"


def write_eeg(folder: Path, plan: SubjectPlan, size: DemoSize) -> None:
    """Write ``EEG/subjectN_eeg.mat`` (time, channel, trial) float32 µV, and ``subjectN_eeg_label.mat`` (10, trial)."""
    target = folder / "EEG"
    target.mkdir(parents=True, exist_ok=True)
    head = eeg.head(plan.trials[0].seed, plan.subject)
    # The trial is the slowest axis in MATLAB's order: fill in C order, then transpose without a copy.
    block = np.empty((len(plan.trials), len(eeg.CHANNELS), round(size.seconds * size.eeg_rate)), np.float32)
    labels = np.zeros((2 * len(EMOTIONS), len(plan.trials)))
    for i, trial in enumerate(plan.trials):
        block[i] = eeg.eeg_trial(trial, head, size).T
        labels[2 * EMOTIONS.index(trial.label) + trial.speaking, i] = 1.0
    _write_mat(target / f"subject{plan.subject}_eeg.mat", {signal_key(plan.subject): block.T})
    _write_mat(target / f"subject{plan.subject}_eeg_label.mat", {"label": labels})


def write_media(folder: Path, trials: Iterable[TrialPlan], size: DemoSize) -> None:
    """Write ``Video/*.mp4`` of the trials and ``Audio/*.wav`` of the speaking ones."""
    for name in ("Video", "Audio"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for trial in trials:
        speech: list[voice.Syllable] = []
        if trial.speaking:
            speaker = voice.speaker(trial.seed, trial.subject)
            speech = voice.syllables(trial, speaker, size)
            sound = voice.voice_trial(speech, trial, speaker, size)
            (folder / "Audio" / audio_name(trial)).write_bytes(_wav(sound, size.audio_rate))
        frames = face.face_frames(trial, face.appearance(trial.seed, trial.subject), speech, size)
        (folder / "Video" / video_name(trial)).write_bytes(_mp4(frames, size))


def _write_mat(path: Path, arrays: dict[str, Any]) -> None:
    savemat(path, arrays, format="5", do_compression=False)
    with path.open("r+b") as file:
        file.write(_MAT_HEADER.ljust(_MAT_TEXT))  # SciPy writes the date here


def _wav(sound: np.ndarray, rate: int) -> bytes:
    buffer = io.BytesIO()
    wavfile.write(buffer, rate, sound)  # float32 gives format tag 3; libsndfile would add a chunk with the date
    return buffer.getvalue()


def _mp4(frames: Iterator[np.ndarray], size: DemoSize) -> bytes:
    """Encode H.264 in memory, so that a full disk raises an ordinary write error."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        # A key frame every two seconds, for seeking.
        options = {"preset": "ultrafast", "crf": "28", "g": str(2 * size.fps)}
        stream = container.add_stream("libx264", rate=size.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
