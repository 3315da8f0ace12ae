"""Client of a Ray cluster's head: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/

It needs the address of the dashboard, and Ray's own variables for a token (``RAY_AUTH_MODE``, ``RAY_AUTH_TOKEN`` or
``RAY_AUTH_TOKEN_PATH``), which Ray reads and nothing here stores. It lists this program's jobs (one list for all
threads, requested at most once a second), submits and stops jobs, and lists the nodes. Every failure becomes a
:class:`eavdash.errors.QueueError`. The package is optional: ``pip install 'ray[default]==2.60.0'``.
"""

from __future__ import annotations

import importlib.util
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from eavdash.config.schema import Execution
from eavdash.errors import QueueError

#: Default address of Ray's dashboard.
DEFAULT_ADDRESS = "http://127.0.0.1:8265"
#: Seconds between two lists; timeouts in seconds of a connection and of an answer.
LIST_INTERVAL = 1.0
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 3.0, 20.0
#: Separator between the job's name and a number in the id of a repeated submission: "~2", "~3".
REPEAT_SEPARATOR = "~"
#: Reason for the loss of a job that is not at fault.
NODE_LOST = "its Ray node was lost"


class UnreachableHeadError(QueueError):
    """No Ray head answers at the address."""


def address_of(given: str) -> str:
    """Return the dashboard's address: the given one, ``RAY_API_SERVER_ADDRESS``, or this machine's."""
    found = (given or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS).strip().rstrip("/")
    return found if "://" in found else f"http://{found}"


def missing() -> str:
    """Return a message if the package is not installed, else an empty string."""
    if all(importlib.util.find_spec(name) for name in ("ray", "aiohttp", "requests")):
        return ""
    error = QueueError.at(
        "--executor ray",
        expected="the package ray with its job client",
        found="none",
        remedy="install it with: pip install 'ray[default]==2.60.0'",
    )
    return str(error)


class Head:
    """Client of one head; thread-safe."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client: Any = None
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._jobs: dict[str, Any] = {}
        self._error: QueueError | None = None

    def jobs(self, fresh: bool = False) -> tuple[dict[str, Any], float]:
        """Return the newest submission of each job by the job's name, and the (monotonic) time of the request.

        The rows are Ray's ``JobDetails``. ``fresh``: request the list now instead of using one that is up to a second
        old.

        Raises:
            QueueError: the head does not answer, or denies access.
        """
        called = time.monotonic()
        with self._lock:
            now = time.monotonic()
            if now - self._asked >= LIST_INTERVAL or (fresh and self._asked < called):
                self._asked = now
                try:
                    self._jobs, self._error = newest(self._ask(lambda client: client.list_jobs())), None
                except QueueError as error:
                    self._error = error
            if self._error is not None:
                raise type(self._error)(str(self._error))
            return self._jobs, self._asked

    def submit(self, name: str, **job: Any) -> None:
        """Submit a job; if one of that name exists already, do nothing, so that none is started twice.

        Raises:
            QueueError: the head does not answer, or rejects the job.
        """
        try:
            self._ask(lambda client: client.submit_job(submission_id=name, **job))
        except UnreachableHeadError:
            if (
                name.partition(REPEAT_SEPARATOR)[0] not in self.jobs(fresh=True)[0]
            ):  # taken, though its answer was lost?
                raise
        except QueueError as error:
            if "already exists" not in str(error.__cause__):
                raise

    def stop(self, submission_id: str) -> None:
        """Request the end of a job, without waiting for it."""
        self._ask(lambda client: client.stop_job(submission_id))

    def version(self) -> str:
        """Return the cluster's version of Ray."""
        return str(self._get("/api/version")["ray_version"])

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that are alive: node_id, node_ip, resources_total and more."""
        answer = self._get("/api/v0/nodes", params={"limit": 10000, "detail": True})
        return [node for node in answer["data"]["result"]["result"] if node["state"] == "ALIVE"]

    def _get(self, path: str, **request: Any) -> Any:
        def get(client: Any) -> Any:
            answer = client._do_request("GET", path, **request)
            answer.raise_for_status()
            return answer.json()

        return self._ask(get)

    def _ask(self, request: Callable[[Any], Any]) -> Any:
        """Send a request to the head; turn every failure into a QueueError."""
        if sentence := missing():
            raise QueueError(sentence)
        import requests
        from ray.exceptions import AuthenticationError

        where = f"Ray at {self.address}"
        try:
            if self._client is None:
                self._client = _client(self.address)
            return request(self._client)
        except AuthenticationError as error:
            no_token = "required" in str(error).partition("\n")[0]
            raise QueueError.at(
                where,
                expected="access with a valid token",
                found="no token" if no_token else "a wrong token",
                remedy="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's before you start eavdash (a "
                "running scheduler keeps the values that it was started with)",
            ) from error
        except (requests.RequestException, ConnectionError) as error:
            raise UnreachableHeadError.at(
                where,
                expected="the head of a Ray cluster",
                found=_describe(error),
                remedy="start it (docs/cluster.md), or fix --ray-address",
            ) from error
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise QueueError.at(
                where, expected="a valid answer", found=_last_line(error), remedy="check the cluster with: ray status"
            ) from error


def newest(rows: list[Any]) -> dict[str, Any]:
    """Return the latest submission of each of this program's jobs, by the job's name."""
    found: dict[str, tuple[int, Any]] = {}
    for row in rows:
        name, _, again = (row.submission_id or "").partition(REPEAT_SEPARATOR)
        if name.startswith("eavdash-"):
            number = int(again or 1)
            if name not in found or found[name][0] < number:
                found[name] = number, row
    return {name: row for name, (_, row) in found.items()}


def next_submission_id(submission_id: str) -> str:
    """Return the id for submitting a job again, after Ray has dropped it."""
    name, _, again = submission_id.partition(REPEAT_SEPARATOR)
    return f"{name}{REPEAT_SEPARATOR}{int(again or 1) + 1}"


def start_timed_out(row: Any) -> bool:
    """Return True if Ray dropped a job because it waited too long."""
    return str(row.error_type or "") == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"


def loss_reason(row: Any) -> str:
    """Return in a few words why Ray lost a job."""
    message = str(row.message or "")
    if "node" in message and ("died" in message or "dead" in message):
        return NODE_LOST
    return f"Ray lost it: {message.strip().partition(chr(10))[0][:200].rstrip('.') or 'no reason given'}"


def _client(address: str) -> Any:
    """Return a Ray client for exactly this address, with timeouts."""
    from ray.dashboard.modules.dashboard_sdk import SubmissionClient
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):
        def __init__(self) -> None:
            # Not its own __init__: there RAY_ADDRESS in the environment would override the address.
            SubmissionClient.__init__(self, address=address)
            import ray

            self._client_ray_version = ray.__version__

        def _do_request(self, method: str, endpoint: str, **request: Any) -> Any:
            return super()._do_request(method, endpoint, **{"timeout": (CONNECT_TIMEOUT, ANSWER_TIMEOUT), **request})

    return Client()


def _describe(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, (requests.ConnectionError, ConnectionError)):
        return "no server"
    return _last_line(error)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" .")]
    return lines[-1].rstrip(".") if lines else type(error).__name__


def gpu_share(settings: Execution) -> float:
    """Return the share of a GPU that a run requests, rounded down to Ray's unit (1/10000), so that all runs fit."""
    if not settings.device.startswith("cuda"):
        return 0.0
    return math.floor(10_000 / max(1, settings.runs_per_gpu)) / 10_000
