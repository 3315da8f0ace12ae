"""Duration of turning recordings into windows, compared with a re-implementation of the published loaders.

``python benchmarks/loaders.py EAV [--trials N] [--jobs N] [--threads N] [--repeats N] [--only eeg,audio,...]`` reads
speaking trials of the first subject under EAV (``eavdash make-demo DIR --subjects 1 --full`` makes such recordings) and
prints a JSON line and a table. Times are the best of the repeats, alternating on the same machine; only their ratios
are meaningful. The re-implementations are sequential, as published, and their libraries use ``--threads``; ours uses
``--jobs`` processes with one thread each. Reported for ours: cold including the start of its processes, cold with
running processes (the second and every further subject), and warm (from the cache, every value read). If other programs
compete for the cores, the ratio of processor times is more reliable: times ``--jobs`` it is the best possible on idle
cores.

* eeg: scipy, the whole .mat; polyphase resampling to 100 Hz and a causal filter over the concatenated trials, then cut.
  Ours: the preset ``paper``, chain=published.
* audio: torchaudio resampling and Hugging Face's AST extractor for each 5 s. Ours: the preset ``paper``.
* faces: OpenCV decodes every frame, MTCNN runs at full size on each kept frame, 56 pixels, enlarged to 224. Ours: the
  preset ``paper``, crop=face.
* centre: OpenCV decodes every frame, the centre square of each kept frame is resized to 224. Ours: crop=centre.

Both keep the frame in the middle of each fifth of a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
import scipy.io
import scipy.signal
import soundfile
import torch

from eavdash.config.choices import COLUMN
from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig
from eavdash.data.adapters.eav import eav_root
from eavdash.data.cache.window_set_spec import window_set_spec
from eavdash.data.inputs import make_windows
from eavdash.data.readers.pool import ReaderPool
from eavdash.data.windows import WindowSet

WINDOW, WINDOWS, EVERY, FRAMES, SIZE = 5, 4, 6, 600, 224
AST_MEAN, AST_SPREAD = -4.2677393, 2 * 4.5689974


def trials_of(root: Path, count: int) -> pd.DataFrame:
    """Return speaking trials of the first subject that have both audio and video."""
    folder = sorted(root.glob("subject*"))[0]
    mat = next(p for p in (folder / "EEG").glob("*_eeg.mat"))
    videos = {p.name[:3]: p for p in (folder / "Video").glob("*.mp4")}
    rows = [
        {"trial": str(int(p.name[:3])), "eeg": f"{mat}#{int(p.name[:3])}", "audio": str(p), "video": videos[p.name[:3]]}
        for p in sorted((folder / "Audio").glob("*.wav"))
        if p.name[:3] in videos
    ]
    frame = pd.DataFrame(rows[:count]).astype(str)
    return frame.assign(subject="1", label="", group="", start=np.nan, stop=np.nan)


def published_eeg(trials: pd.DataFrame) -> np.ndarray:
    """Load EEG (window, 30, 500) in microvolt as published."""
    file = trials["eeg"].iloc[0].partition("#")[0]
    cube = next(a for a in scipy.io.loadmat(file).values() if getattr(a, "ndim", 0) == 3)  # (time, channel, trial)
    length, channels, count = cube.shape
    joined = cube.transpose(1, 2, 0).reshape(channels, count * length).astype(np.float64)
    slow = scipy.signal.resample_poly(joined, 1, 5, axis=1)
    design = scipy.signal.butter(5, [0.5, 45], btype="bandpass", fs=100, output="sos")
    filtered = scipy.signal.sosfilt(design, slow, axis=1).reshape(channels, count, WINDOWS, 500)
    chosen = [int(entry.partition("#")[2]) - 1 for entry in trials["eeg"]]
    return filtered[:, chosen].transpose(1, 2, 0, 3).reshape(-1, channels, 500)


def published_audio(trials: pd.DataFrame) -> np.ndarray:
    """Load log-mel energies (window, 1024, 128) as published, scaled for AST."""
    from torchaudio.functional import resample
    from transformers import ASTFeatureExtractor

    extractor, out = ASTFeatureExtractor(), []
    for path in trials["audio"]:
        wave, rate = soundfile.read(path, dtype="float32")
        wave = resample(torch.from_numpy(wave), rate, 16000).numpy()
        for k in range(WINDOWS):
            part = wave[k * WINDOW * 16000 : (k + 1) * WINDOW * 16000]
            out.append(extractor(part, sampling_rate=16000, return_tensors="np")["input_values"][0])
    return np.stack(out)


def frames_with_opencv(path: str, keep: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Decode every frame, and return the result of ``keep`` for the kept ones."""
    video, out = cv2.VideoCapture(path), []
    for number in range(FRAMES):
        there, frame = video.read()
        if not there:
            break
        if number % EVERY == EVERY // 2:
            out.append(keep(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)))
    video.release()
    return out


def published_faces(trials: pd.DataFrame) -> np.ndarray:
    """Load face crops (window, 25, 224, 224, 3) uint8 as published."""
    from facenet_pytorch import MTCNN

    detector = MTCNN(image_size=56, margin=0, post_process=False, device="cpu")
    last = np.zeros((56, 56, 3), np.uint8)

    def keep(frame: np.ndarray) -> np.ndarray:
        nonlocal last
        face = detector(frame)
        if face is not None:
            last = face.permute(1, 2, 0).clamp(0, 255).to(torch.uint8).numpy()
        return cv2.resize(last, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)

    return np.stack([f for path in trials["video"] for f in frames_with_opencv(path, keep)]).reshape(
        -1, 25, SIZE, SIZE, 3
    )


def published_centre(trials: pd.DataFrame) -> np.ndarray:
    """Load centre crops (window, 25, 224, 224, 3) uint8; area averaging avoids aliasing."""

    def keep(frame: np.ndarray) -> np.ndarray:
        side = min(frame.shape[:2])
        top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
        return cv2.resize(frame[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)

    return np.stack([f for path in trials["video"] for f in frames_with_opencv(path, keep)]).reshape(
        -1, 25, SIZE, SIZE, 3
    )


def difference_eeg(ours: WindowSet, theirs: np.ndarray) -> dict[str, float]:
    """Return the difference relative to the largest value; ours is float32 volt."""
    return {"max relative": float(np.abs(ours.values * 1e6 - theirs).max() / np.abs(theirs).max())}


def difference_audio(ours: WindowSet, theirs: np.ndarray) -> dict[str, float]:
    """Return the difference in the natural log of the energy; ours is unscaled and not padded to 1024 frames."""
    energies = theirs[:, : ours.values.shape[1]] * AST_SPREAD + AST_MEAN
    return {"max": float(np.abs(ours.values - energies).max())}


def difference_images(ours: WindowSet, theirs: np.ndarray) -> dict[str, float]:
    """Return the difference in grey levels of 255."""
    off = [np.abs(a.astype(np.int16) - b) for a, b in zip(ours.values, theirs, strict=True)]
    return {"mean": float(np.mean([o.mean() for o in off])), "p99": float(np.mean([np.quantile(o, 0.99) for o in off]))}


@dataclass(frozen=True)
class Loader:
    """One comparison: modality and crop of ours, the re-implementation, and the measure of their difference."""

    modality: str
    published: Callable[[pd.DataFrame], np.ndarray]
    difference: Callable[[WindowSet, np.ndarray], dict[str, float]]
    crop: str = "face"

    def config(self) -> StudyConfig:
        """Return the preset ``paper`` with this crop."""
        paper = preset("paper")
        return replace(paper, vision=replace(paper.vision, crop=self.crop))


LOADERS = {
    "eeg": Loader("eeg", published_eeg, difference_eeg),
    "audio": Loader("audio", published_audio, difference_audio),
    "faces": Loader("vision", published_faces, difference_images),
    "centre": Loader("vision", published_centre, difference_images, crop="centre"),
}


def processor_seconds() -> float:
    """Return the processor time of this process and its living children."""
    me, seconds = psutil.Process(), 0.0
    for process in [me, *me.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            used = process.cpu_times()
            seconds += used.user + used.system
    return seconds


def make_ours(loader: Loader, trials: pd.DataFrame, cache: Path, pool: ReaderPool) -> tuple[float, WindowSet]:
    """Make the windows and read every value; return the seconds and the windows."""
    started = time.perf_counter()
    windows = make_windows(window_set_spec(trials, loader.modality, loader.config(), cache, pool.jobs), pool)
    np.array(windows.values).any()
    return time.perf_counter() - started, windows


def compare(loader: Loader, trials: pd.DataFrame, jobs: int, repeats: int) -> dict[str, object]:
    """Return the best alternating times of both, and the difference of their results."""
    times: dict[str, list[float]] = {"published": [], "started": [], "running": [], "warm": []}
    used: dict[str, list[float]] = {"published": [], "running": []}
    loader.published(trials.iloc[:1])  # load libraries, and files into memory
    with tempfile.TemporaryDirectory() as folder, ReaderPool(jobs) as running:
        for n in range(repeats):
            for file in {entry.partition("#")[0] for entry in trials[COLUMN[loader.modality]]}:
                Path(file).read_bytes()  # into the page cache for both
            started, before = time.perf_counter(), processor_seconds()
            theirs = loader.published(trials)
            times["published"].append(time.perf_counter() - started)
            used["published"].append(processor_seconds() - before)
            with ReaderPool(jobs) as fresh:
                times["started"].append(make_ours(loader, trials, Path(folder) / f"started{n}", fresh)[0])
            make_ours(loader, trials.iloc[:2], Path(folder) / f"few{n}", running)
            before = processor_seconds()
            seconds, windows = make_ours(loader, trials, Path(folder) / f"running{n}", running)
            times["running"].append(seconds)
            used["running"].append(processor_seconds() - before)
            times["warm"].append(make_ours(loader, trials, Path(folder) / f"running{n}", running)[0])
        difference = loader.difference(windows, theirs)
    best = {name: min(values) for name, values in times.items()}
    ratios = {f"x {name}": best["published"] / best[name] for name in ("started", "running", "warm")}
    ratios["x processor"] = min(used["published"]) / min(used["running"])
    return {"windows": len(theirs), **{f"s {k}": v for k, v in best.items()}, **ratios, "difference": difference}


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(LOADERS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    root = eav_root(Path(options.root))
    if root is None:
        parser.error(f"{options.root}: no EAV recordings")
    trials = trials_of(root, options.trials)
    rows = {name: compare(LOADERS[name], trials, options.jobs, options.repeats) for name in options.only.split(",")}
    print(json.dumps({"trials": len(trials), "jobs": options.jobs, "threads": torch.get_num_threads(), **rows}))
    print(pd.DataFrame(rows).T.to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
