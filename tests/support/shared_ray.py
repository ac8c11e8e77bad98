"""The one local Ray that the tests of a run share."""

from __future__ import annotations

from contextlib import ExitStack


class SharedRay:
    """A Ray of two CPUs, started when it is first used. A test that needs another ends this one first."""

    def __init__(self) -> None:
        self._running: ExitStack | None = None

    def start(self) -> None:
        if self._running is None:
            from tests.support.one_ray import local_ray  # imports Ray

            self._running = ExitStack()
            self._running.enter_context(local_ray(num_cpus=2))

    def stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
