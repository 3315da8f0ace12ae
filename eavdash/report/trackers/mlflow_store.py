"""A study as an experiment of MLflow, in a SQLite database beside a folder of artefacts; no server, no network.

In: a :class:`~eavdash.report.trackers.record.TrackedStudy`. Out: ``mlflow.db`` and ``artifacts/``, written by MLflow's
own client (the extra "mlflow"). The experiment has the study's name; the run "study" has the averages, and the others
are its children. The tag ``eavdash.digest`` is set last: a run without it was interrupted and is written again.
"""

from __future__ import annotations

import itertools
import logging
import os
import shlex
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from eavdash.errors import IntegrityError, UsageError
from eavdash.report.trackers.record import TrackedRun, TrackedStudy, Written, digest_with
from eavdash.text import is_utf8, printable, shortened

DATABASE, ARTEFACTS = "mlflow.db", "artifacts"
STUDY_RUN = "study"
_STATUS = {"done": "FINISHED", "failed": "FAILED", "damaged": "FAILED", "cancelled": "KILLED"}
# What MLflow takes at once, and the longest value of a parameter and of a tag.
_METRICS, _PARAMS = 1000, 100
_LONGEST = {"param": 6000, "tag": 8000}

T = TypeVar("T")


def write(study: TrackedStudy, folder: Path, copy: bool, report: Callable[[int, int, str], None]) -> Written:
    """Write the runs that are new or have changed; a changed run replaces the earlier one, which is marked as deleted.

    ``copy``: also copy the runs' tables to the artefacts; otherwise tags name their paths and checksums.

    Raises:
        UsageError: the database has another study of this name, or MLflow would write elsewhere. IntegrityError: MLflow
            cannot use the database.
    """
    check_place(folder)
    client = _client(folder)
    with _mlflow_errors(folder / DATABASE):
        experiment = _experiment(client, study, folder)
        there = _runs(client, experiment)
        made = Written(folder, shlex.join(["mlflow", "ui", "--backend-store-uri", _uri(folder)]))
        parent = _study_run(client, experiment, study, there.pop(STUDY_RUN, []))
        for number, run in enumerate(study.runs):
            report(number, len(study.runs), run.name)
            earlier = there.pop(run.name, [])
            digest = digest_with(run, copy)
            same = [old for old in earlier if old.data.tags.get("eavdash.digest") == digest]
            for old in earlier:
                if old not in same[:1]:
                    client.delete_run(old.info.run_id)
            if same:
                made.kept += 1
                if same[0].data.tags.get("mlflow.parentRunId") != parent:
                    client.set_tag(same[0].info.run_id, "mlflow.parentRunId", parent)
                continue
            _write_run(client, experiment, parent, run, digest, copy)
            made.replaced, made.new = made.replaced + bool(earlier), made.new + (not earlier)
    report(len(study.runs), len(study.runs), "")
    return made


def require() -> None:
    """Check that MLflow's client is installed, with what it needs for a database.

    Raises:
        UsageError: it is not.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about MLflow's own use of its libraries
            import alembic  # noqa: F401 - MLflow needs it for a database
            import mlflow  # noqa: F401
    except ImportError as error:
        remedy = "install it with: pip install 'eavdash[mlflow]'"
        raise UsageError.at(
            "--to mlflow", expected="the package mlflow-skinny", found=str(error), remedy=remedy
        ) from None


def check_place(folder: Path) -> None:
    """Check that MLflow's address of the database leads to this folder, and to no database of another program.

    The address ends at a ?, and %41 is an A in it; to any SQLite database MLflow would add its tables.

    Raises:
        UsageError: it leads elsewhere, or to another program's database.
    """
    if any(sign in str(folder) for sign in "?%") or not is_utf8(str(folder)):
        expected = "a folder whose path is UTF-8 without ? and %, which MLflow would take for another one"
        remedy = "rename it, or choose another --output"
        raise UsageError.at("--output", expected=expected, found=shortened(str(folder)), remedy=remedy)
    database, tables = folder / DATABASE, set()
    if os.path.lexists(database) and not database.is_file():
        remedy = "choose another place with --output"
        raise UsageError.at(database, expected="a database of MLflow", found="no file", remedy=remedy)
    if database.is_file():
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as opened:
            tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "alembic_version" not in tables:
        remedy = "choose another place with --output"
        raise UsageError.at(database, expected="a database of MLflow", found="another program's", remedy=remedy)


def _client(folder: Path) -> Any:
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with _mlflow_errors(folder / DATABASE):
        return MlflowClient(tracking_uri=_uri(folder))


def _uri(folder: Path) -> str:
    return f"sqlite:///{folder / DATABASE}"


@contextmanager
def _mlflow_errors(database: Path) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MlflowException, SQLAlchemyError) as error:
        found = str(error).splitlines()[0]
        remedy = "choose another place with --output, or bring the database up to date: mlflow db upgrade"
        raise IntegrityError.at(database, expected="a database of MLflow", found=found, remedy=remedy) from error


def _experiment(client: Any, study: TrackedStudy, folder: Path) -> str:
    found = client.get_experiment_by_name(study.name)
    if found is None:
        place = (folder / ARTEFACTS / study.name).absolute().as_uri()
        return str(client.create_experiment(study.name, place, {"eavdash.study": _text(study.origin, "tag")}))
    if found.lifecycle_stage != "active":
        remedy = f"restore it (mlflow experiments restore -x {found.experiment_id}), or choose another --output"
        raise UsageError.at(folder, expected="an active experiment", found=f"{study.name}, deleted", remedy=remedy)
    if found.tags.get("eavdash.study") != _text(study.origin, "tag"):
        raise UsageError.at(
            folder,
            expected=f"a database without another {study.name!r}",
            found="an experiment of that name that is not of this study",
            remedy="choose another --output",
        )
    return str(found.experiment_id)


def _runs(client: Any, experiment: str) -> dict[str, list[Any]]:
    """Return the active runs that eavdash has written, by its name of them."""
    found: dict[str, list[Any]] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            if name := run.data.tags.get("eavdash.run"):
                found.setdefault(name, []).append(run)
        if not (token := page.token):
            return found


def _study_run(client: Any, experiment: str, study: TrackedStudy, earlier: Sequence[Any]) -> str:
    """Return the id of the run with the averages, which is written again if anything of it has changed."""
    for old in earlier:
        if old.data.tags.get("eavdash.digest") == study.digest:
            return str(old.info.run_id)
    tags = {
        "eavdash.run": STUDY_RUN,
        **_tags(study.about),
        "mlflow.note.content": _text("\n\n".join(study.note), "tag"),
    }
    run = client.create_run(experiment, int(1000 * study.created), tags, STUDY_RUN).info.run_id
    scores = [(name, value, 0, study.created) for name, value in study.scores.items()]
    _log(client, run, scores, study.settings)
    for name, content in study.files.items():
        client.log_text(run, printable(content), name)
    client.set_tag(run, "eavdash.digest", study.digest)
    client.set_terminated(run, "FINISHED")
    for old in earlier:
        client.delete_run(old.info.run_id)
    return str(run)


def _write_run(client: Any, experiment: str, parent: str, run: TrackedRun, digest: str, copy: bool) -> None:
    tags = {"eavdash.run": run.name, "mlflow.parentRunId": parent, **_tags(run.about)}
    made = client.create_run(experiment, int(1000 * run.started), tags, run.name).info.run_id
    points = [(p.name, p.value, p.step, p.time) for p in run.points]
    last = max((p.step for p in run.points), default=0)
    _log(client, made, [*points, *((n, v, last, run.finished) for n, v in run.scores.items())], run.settings)
    for file in run.files.values() if copy else ():
        client.log_artifact(made, str(file))
    client.set_tag(made, "eavdash.digest", digest)
    client.set_terminated(made, _STATUS[run.state], int(1000 * run.finished))


def _log(
    client: Any,
    run: str,
    metrics: Iterable[tuple[str, float, int, float]],
    params: dict[str, str],
) -> None:
    from mlflow.entities import Metric, Param

    every = [Metric(name, value, int(1000 * at), step) for name, value, step, at in metrics]
    settings = [Param(name, _text(value, "param")) for name, value in params.items()]
    parts = itertools.zip_longest(_chunks(every, _METRICS), _chunks(settings, _PARAMS), fillvalue=())
    for some in parts:
        client.log_batch(run, *some)


def _chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _tags(about: dict[str, str]) -> dict[str, str]:
    return {f"eavdash.{name}": _text(value, "tag") for name, value in about.items()}


def _text(value: str, kind: str) -> str:
    return shortened(value if is_utf8(value) else printable(value), _LONGEST[kind])
