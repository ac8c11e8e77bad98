"""The client of a cluster's job server: authenticates, submits a command, follows it to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from orchestrator.machine.environment import never_through_a_proxy
from orchestrator.remote.job_request import JobRequest
from orchestrator.remote.submitted import JobState, SubmittedSweep, submitted_sweeps
from orchestrator.remote.token import ClusterError
from trainables.errors import InputError

logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it reports every closed connection

REQUEST_TIMEOUT_S = (5, 20)  # seconds to connect, and to answer
STATUS_INTERVAL_S = 10.0  # seconds between requests for a silent job's status, in case its log ended unnoticed
OUTAGE_LIMIT_S = 120.0  # seconds to wait for a server that has stopped answering
POLL_S = 0.5  # seconds between requests for the status of a short job


@dataclass(frozen=True)
class JobEnd:
    """How a job ended. `exit_code` is that of its driver; None if it never ran or was stopped."""

    state: JobState
    exit_code: int | None
    message: str

    @property
    def is_final(self) -> bool:
        return self.state in ("STOPPED", "SUCCEEDED", "FAILED")


class JobServer:
    """A cluster's job server at `address` (http or https). The constructor connects and authenticates."""

    def __init__(self, address: str, token: str | None) -> None:
        """Raises ClusterError if nothing answers there within seconds, or the token is missing or wrong."""
        self.address = address.rstrip("/")
        never_through_a_proxy(urlsplit(address).hostname or "")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.ray_version: str = self._get("/api/version").get("ray_version", "unknown")
        with _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # Ray lets these two override its own argument
            self._client = JobSubmissionClient(self.address, headers=dict(self._headers))

    def submit(self, request: JobRequest) -> None:
        """Upload the working directory and start the job. Raises ClusterError."""
        try:
            self._client.submit_job(
                entrypoint=request.entrypoint,
                submission_id=request.submission_id,
                runtime_env=request.runtime_env,
                metadata=dict(request.metadata),
            )
        except (requests.RequestException, AuthenticationError, RuntimeError, ValueError, OSError) as error:
            raise ClusterError(f"the job was not accepted: {_last_line(error)}") from error

    def status(self, submission_id: str) -> JobEnd:
        """The job's current state. Raises ClusterError."""
        job = self._get(f"/api/jobs/{submission_id}")
        return JobEnd(job["status"], job.get("driver_exit_code"), job.get("message") or "")

    def sweeps(self) -> list[SubmittedSweep]:
        """The sweeps that were submitted since the cluster started, newest first. Raises ClusterError."""
        return submitted_sweeps(self._get("/api/jobs/"))

    def log(self, submission_id: str) -> str:
        """A job's whole log so far. Raises ClusterError."""
        text: str = self._get(f"/api/jobs/{submission_id}/logs").get("logs") or ""
        return text

    def stop(self, submission_id: str, patience_s: float) -> JobEnd:
        """Stop a job and wait up to `patience_s` seconds for its end; an ended job is kept. Raises ClusterError."""
        self._request("POST", f"/api/jobs/{submission_id}/stop")
        return self._end_of(submission_id, patience_s)

    def answer_of(self, request: JobRequest, patience_s: float) -> str:
        """Run a short job, return its last line, and delete it from the server. Raises ClusterError if it fails.

        A job that has not ended in time is stopped.
        """
        name = request.submission_id
        self.submit(request)
        try:
            end = self._end_of(name, patience_s)
            lines = self.log(name).strip().splitlines()
        except ClusterError:
            with contextlib.suppress(ClusterError):
                self._request("POST", f"/api/jobs/{name}/stop")
            raise
        with contextlib.suppress(ClusterError):
            self._request("DELETE", f"/api/jobs/{name}")
        last = lines[-1] if lines else end.message
        if end.state != "SUCCEEDED":
            raise ClusterError(last or f"{name} ended as {end.state}")
        return last

    def _end_of(self, submission_id: str, patience_s: float) -> JobEnd:
        deadline = time.monotonic() + patience_s
        while not (end := self.status(submission_id)).is_final:
            if time.monotonic() > deadline:
                raise ClusterError(f"{submission_id} has not ended in {patience_s:.0f} s: it is {end.state}")
            time.sleep(POLL_S)
        return end

    def follow(self, submission_id: str, write: Callable[[str], object]) -> JobEnd:
        """Pass the job's log to `write` as it grows, until the job has ended.

        After a lost connection the log continues where it broke off. Raises ClusterError if the server does not return.
        """
        return asyncio.run(self._follow(submission_id, write))

    async def _follow(self, submission_id: str, write: Callable[[str], object]) -> JobEnd:
        loop = asyncio.get_running_loop()
        last_answer, end, written = loop.time(), None, 0
        while True:
            to_skip = written  # the server sends the log from its beginning each time
            async for chunk in self._tail(submission_id):
                last_answer = loop.time()
                fresh, to_skip = chunk[to_skip:], max(0, to_skip - len(chunk))
                written += len(fresh)
                write(fresh)
            try:
                end = self.status(submission_id)
                if end.is_final:
                    write(self.log(submission_id)[written:])
                    return end
                last_answer = loop.time()
            except ClusterError as error:
                if loop.time() - last_answer > OUTAGE_LIMIT_S:
                    if end is not None and end.is_final:  # only the log is missing: it was lost with its node
                        return end
                    raise ClusterError(f"lost the cluster at {self.address}: {error}") from error
            await asyncio.sleep(1.0)

    async def _tail(self, submission_id: str) -> AsyncIterator[str]:
        """Chunks of the log from its beginning, until the log, the connection or the job ends."""
        chunks = self._client.tail_job_logs(submission_id).__aiter__()
        has_ended = False
        try:
            while True:
                next_chunk = asyncio.ensure_future(anext(chunks))
                while not (await asyncio.wait({next_chunk}, timeout=STATUS_INTERVAL_S))[0]:
                    if has_ended:
                        next_chunk.cancel()
                        return
                    has_ended = self.status(submission_id).is_final
                try:
                    chunk = next_chunk.result()
                except (StopAsyncIteration, aiohttp.ClientError, RuntimeError, OSError):
                    return
                yield chunk
        except ClusterError:
            return
        finally:
            with contextlib.suppress(RuntimeError):
                await chunks.aclose()  # type: ignore[attr-defined]

    def _get(self, path: str) -> Any:
        return self._request("GET", path)

    def _request(self, verb: str, path: str) -> Any:
        try:
            answer = requests.request(verb, self.address + path, headers=self._headers, timeout=REQUEST_TIMEOUT_S)
        except requests.RequestException as error:
            raise ClusterError(
                f"no job server answers at {self.address} ({type(error).__name__}); is the cluster up, "
                "and the tunnel to it open (`ray dashboard cluster.yaml`)?"
            ) from error
        if answer.status_code == 401:
            raise ClusterError(
                f"the cluster at {self.address} requires a token; set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, "
                "or put it in ~/.ray/auth_token"
            )
        if answer.status_code == 403:
            raise ClusterError(
                f"the cluster at {self.address} refuses the token; it must be the one the cluster was started with "
                "(RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token)"
            )
        try:
            answer.raise_for_status()
            return answer.json()
        except requests.RequestException as error:
            raise ClusterError(
                f"{self.address} is not a Ray job server, or fails: {path} returned status {answer.status_code}"
            ) from error


def check_address(address: str) -> bool:
    """Whether traffic to this job server is private: encrypted, or within this machine.

    Raises InputError if the address is not that of a job server.
    """
    parts = urlsplit(address)
    try:
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number
        is_address = False
    if parts.username or parts.password:
        raise InputError("the address contains a user name or password; the cluster needs its token (RAY_AUTH_TOKEN)")
    if not is_address:
        raise InputError(f"{address!r} is not the address of a job server; write http://HOST:8265")
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _last_line(error: BaseException) -> str:
    """The last line of an exception: the server's errors arrive as whole tracebacks."""
    lines = [line.strip() for line in str(error).splitlines() if any(map(str.isalnum, line))]
    return lines[-1] if lines else type(error).__name__
