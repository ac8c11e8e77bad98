"""What the workers need and nobody else may read: kept in the memory of Ray's head, in no file and in no log.

Tune writes a trial's configuration into files that everyone on the machine can read, and so does Ray's agent with the
environment of every process that it starts. What they are given is therefore a key, under which the head has the rest:
orchestrator.running.hand_over puts it there, and trainables.worker.ray_worker takes it from there.
"""

from __future__ import annotations

import os

from trainables.config.base import FrozenConfig
from trainables.storage import Storage

# Of the driver, for workers on other nodes. Tune would send them along by itself, and so into a log.
AWS_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
NAMESPACE = "paretune"  # of Ray's head's memory


class Handover(FrozenConfig):
    storage: str  # the whole URI, with the credentials in it
    environment: dict[str, str]

    @classmethod
    def of(cls, storage: Storage) -> Handover:
        """With this process's credentials."""
        environment = {name: os.environ[name] for name in AWS_CREDENTIALS if name in os.environ}
        return cls(storage=storage.uri, environment=environment)

    def take(self) -> Storage:
        """The storage that was handed over. A node's own credentials stand before those of the driver."""
        if not any(name in os.environ for name in AWS_CREDENTIALS):  # a pair of keys is never mixed with another
            os.environ.update(self.environment)
        return Storage(self.storage)
