"""Times of what-ifs of one trial: cold (imports, weights, windows) and warm, each kind of change.

    python benchmarks/whatif.py --checkpoints checkpoints --study demo --subject 1 --trial 4

Wall-clock time and processor time in seconds; warm times are medians over fresh changes, so that an encoder runs each
time. On a machine that does other work only the processor time means something.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from eavdash.explain.changes.registry import changes_of
from eavdash.store import find_study

#: Kind → value of the option, and a number that makes every question a fresh one.
KINDS = {
    "drop": lambda n: [("drop", ("vision", "audio", "eeg")[n % 3])],
    "noise in audio": lambda n: [("noise", f"audio:{n}")],
    "band of EEG": lambda n: [("mute", f"eeg:{4 + n}-{8 + n}")],
    "covered box": lambda n: [("cover", f"0.2,0.2,0.8,{0.5 + n / 100}")],
    "all three": lambda n: [("noise", f"audio:{n}.5"), ("shift", f"eeg:{1 + n / 10}"), ("noise", f"vision:{n}.5")],
}


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--checkpoints", default="checkpoints")
    for name, default in (("study", "demo"), ("subject", "1"), ("trial", "4")):
        options.add_argument(f"--{name}", default=default)
    options.add_argument("--repeats", type=int, default=9)
    asked = options.parse_args()
    study = find_study(Path(asked.checkpoints), asked.study)
    sessions = []

    def imports() -> None:
        import eavdash.explain.whatif  # noqa: F401

    def opened() -> None:
        from eavdash.explain.choose import testing_run
        from eavdash.explain.whatif import TrialSession

        run = testing_run(study, asked.subject, asked.trial, None, None)
        sessions.append(TrialSession(study, run, asked.subject, asked.trial))

    rows = {
        "imports": timed(imports),
        "weights and windows": timed(opened),
        "first answer": timed(lambda: sessions[0].ask(changes_of([("drop", "eeg")]))),
    }
    for kind, of in KINDS.items():
        times = [timed(lambda n=n, of=of: sessions[0].ask(changes_of(of(n)))) for n in range(asked.repeats)]
        rows[f"warm: {kind}"] = (statistics.median(w for w, _ in times), statistics.median(p for _, p in times))
    print("| step | wall, s | processor, s |\n|---|---|---|")
    for name, (wall, processor) in rows.items():
        print(f"| {name} | {wall:.2f} | {processor:.2f} |")


if __name__ == "__main__":
    main()
