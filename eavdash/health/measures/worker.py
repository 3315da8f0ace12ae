"""The measuring process: ``python -m eavdash.health.measures.worker``.

In: one JSON line per request on standard input: column, file, parts, mains, and the time limit in seconds. Out: one
JSON line each. A decoder's crash ends only this process, and an endless decoder is ended by an alarm, even if the scan
has ended. The process ends when its input closes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, TextIO

from eavdash.health.measures.base import MeasureRequest, Part
from eavdash.health.measures.measure import measure_file


def encode_request(request: MeasureRequest, limit: float) -> str:
    """Encode a request as a line."""
    parts = [[p.number, p.start, p.stop] for p in request.parts]
    wanted = {"column": request.column, "file": request.file, "parts": parts, "mains": request.mains}
    return json.dumps({**wanted, "limit": limit})


def serve(lines: TextIO, answers: TextIO) -> None:
    """Answer every line of ``lines``."""
    for line in lines:
        request: dict[str, Any] = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["limit"])
        parts = tuple(Part(*part) for part in request["parts"])
        answer = measure_file(MeasureRequest(request["column"], request["file"], parts, request["mains"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Reserve standard output for the answers; the output of decoders is discarded."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the scan handles Ctrl-C
    try:
        serve(sys.stdin, answers)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
