"""A study as event files of TensorBoard.

In: a :class:`~eavdash.report.trackers.record.TrackedStudy`. Out: ``FOLDER/<study>/<run>/events.out.tfevents.*``,
written by TensorBoard's own writer (the extra "tensorboard"; neither torch nor TensorFlow is needed): scalars, texts,
and parameters for the tab HPARAMS. A run's folder appears whole, by renaming; ``eavdash.json`` in it says what it has.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from eavdash.errors import IntegrityError, UsageError
from eavdash.report.trackers.record import TrackedRun, TrackedStudy, Written, digest_with
from eavdash.results.metrics import METRICS
from eavdash.store.atomic import write_json
from eavdash.text import code, markdown, printable

MARK = "eavdash.json"
STUDY_RUN = "study"
_UNFINISHED = ".eavdash-unfinished"
#: Keys of a run's place that are parameters in the tab HPARAMS, beside the settings that differ from the preset.
_HPARAMS = ("stage", "subject", "fold", "seed", "protocol", "preset", "changed")


def write(study: TrackedStudy, folder: Path, copy: bool, report: Callable[[int, int, str], None]) -> Written:
    """Write the runs that are new or have changed; a changed run replaces the earlier one.

    ``copy``: also copy the runs' tables beside the event files; otherwise a text names their paths and checksums.

    Raises:
        UsageError: the folder has another study, or another folder, of these names. IntegrityError, TrainingError: it
            cannot be written.
    """
    made = Written(folder, shlex.join(["tensorboard", "--logdir", str(folder)]))
    place = folder / study.name
    with IntegrityError.from_os(folder, expected="a folder that can be written", remedy="choose another --output"):
        if (folder / _UNFINISHED).is_symlink():
            (folder / _UNFINISHED).unlink()  # what it leads to is not ours
        shutil.rmtree(folder / _UNFINISHED, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        _claim(place, study)
        _replace(place / STUDY_RUN, study.digest, lambda into: _write_study(study, into))
        for number, run in enumerate(study.runs):
            report(number, len(study.runs), run.name)

            def content(into: Path, run: TrackedRun = run) -> None:
                _write_run(run, into)
                for name, file in run.files.items() if copy else ():
                    shutil.copyfile(file, into / name)

            done = _replace(place / run.name, digest_with(run, copy), content)
            setattr(made, done, getattr(made, done) + 1)
        shutil.rmtree(folder / _UNFINISHED, ignore_errors=True)
    report(len(study.runs), len(study.runs), "")
    return made


def require() -> None:
    """Check that TensorBoard is installed.

    Raises:
        UsageError: it is not.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        remedy = "install it with: pip install 'eavdash[tensorboard]'"
        raise UsageError.at(
            "--to tensorboard", expected="the package tensorboard", found="none", remedy=remedy
        ) from None


def _claim(place: Path, study: TrackedStudy) -> None:
    """Mark the folder as this study's."""
    mark = place / MARK
    if mark.exists() and _read(mark).get("study") != study.origin:
        raise UsageError.at(
            place,
            expected=f"a folder without another {study.name!r}",
            found="one that is not of this study",
            remedy="choose another --output",
        )
    if not mark.exists():
        write_json(mark, {"study": printable(study.origin)})


def _replace(place: Path, digest: str, write: Callable[[Path], None]) -> str:
    """Write a run's folder unless it is there already; return "new", "replaced" or "kept"."""
    there = place.exists()
    if there and not (place / MARK).exists():
        remedy = "move it elsewhere, or choose another --output"
        raise UsageError.at(
            place, expected="nothing, or a run that eavdash wrote", found="another folder", remedy=remedy
        )
    if there and _read(place / MARK).get("digest") == digest:
        return "kept"
    fresh = place.parent.parent / _UNFINISHED / place.name
    fresh.mkdir(parents=True)
    write(fresh)
    write_json(fresh / MARK, {"digest": digest})
    if there:
        shutil.rmtree(place)
    fresh.rename(place)
    return "replaced" if there else "new"


def _read(mark: Path) -> dict[str, Any]:
    try:
        found = json.loads(mark.read_text("utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write_study(study: TrackedStudy, into: Path) -> None:
    scalars = [(name, value, 0, study.created) for name, value in study.scores.items()]
    texts = {"about": "\n\n".join(map(markdown, study.note)), "settings": _table(study.settings)}
    _write_events(into, [*_scalars(scalars), *_texts(texts, study.created), _experiment(study)])
    for name, content in study.files.items():
        (into / name).write_bytes(content.encode("utf-8", "backslashreplace"))


def _write_run(run: TrackedRun, into: Path) -> None:
    last = max((p.step for p in run.points), default=0)
    scalars = [(p.name, p.value, p.step, p.time) for p in run.points]
    scalars += [(name, value, last, run.finished) for name, value in run.scores.items()]
    texts = {"about": _table(run.about), "settings": _table(run.settings)}
    _write_events(into, [*_scalars(scalars), *_texts(texts, run.started), *_session(run)])


def _write_events(folder: Path, events: Iterable[Any]) -> None:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    try:
        for event in events:
            writer.add_event(event)
    finally:
        writer.close()


def _event(value: Any, step: int, time: float) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(step=step, wall_time=time, summary=Summary(value=[value]))


def _scalars(points: Iterable[tuple[str, float, int, float]]) -> Iterator[Any]:
    from tensorboard.compat.proto.summary_pb2 import Summary

    for name, value, step, time in points:
        yield _event(Summary.Value(tag=name, simple_value=value), step, time)


def _texts(texts: dict[str, str], time: float) -> Iterator[Any]:
    import numpy as np
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    for name, text in texts.items():
        metadata = create_summary_metadata(name, "")
        tensor = make_tensor_proto(np.array([printable(text).encode()], dtype=object))
        yield _event(Summary.Value(tag=f"{name}/text_summary", metadata=metadata, tensor=tensor), 0, time)


def _experiment(study: TrackedStudy) -> Any:
    """Return the event that names the parameters and metrics of the tab HPARAMS."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    levels = [level for level in ("trial", "window", "frame") if f"scores-{level}.csv" in study.files]
    tags = [f"scores/{level}/{metric}" for level in levels for metric in METRICS]
    kinds = {name: "DATA_TYPE_FLOAT64" if name in ("fold", "seed") else "DATA_TYPE_STRING" for name in _HPARAMS}
    experiment = api_pb2.Experiment(
        name=study.name,
        time_created_secs=study.created,
        hparam_infos=[api_pb2.HParamInfo(name=name, type=kind) for name, kind in kinds.items()],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in tags],
    )
    return _hparams(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment), study.created)


def _session(run: TrackedRun) -> Iterator[Any]:
    """Yield the events that hold a run's parameters and its end."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(group_name=run.name, start_time_secs=run.started)
    for name in _HPARAMS:
        value = printable(run.about[name])
        if name in ("fold", "seed"):
            start.hparams[name].number_value = float(value)
        else:
            start.hparams[name].string_value = value
    yield _hparams(
        metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start), run.started
    )
    status = api_pb2.STATUS_SUCCESS if run.state == "done" else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=run.finished)
    yield _hparams(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end), run.finished)


def _hparams(tag: str, data: Any, time: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    return _event(
        Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR), 0, time
    )


def _table(rows: dict[str, str]) -> str:
    """Return a Markdown table, with the values as code."""
    cells = (f"| {markdown(name)} | {code(value.replace('|', '¦'))} |" for name, value in rows.items())
    return "\n".join(["| | |", "|---|---|", *cells])
