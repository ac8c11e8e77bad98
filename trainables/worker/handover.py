"""Secrets for the workers: they are kept in the memory of Ray's head, and in no file or log.

Tune writes a trial's configuration to files that all users of the machine can read, and Ray's agent does the same with
the environment of every process that it starts. So workers get only a key, and the head has the secrets:
orchestrator.running.hand_over puts them there, and trainables.worker.ray_worker reads them.
"""

from __future__ import annotations

import os

from trainables.config.base import FrozenConfig
from trainables.storage import Storage

# Credentials of the driver, for workers on other nodes. Tune would send them itself, and so write them to a log.
AWS_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
NAMESPACE = "paretune"  # namespace in the key-value store of Ray's head


class Handover(FrozenConfig):
    storage: str  # the whole URI, with the credentials in it
    environment: dict[str, str]

    @classmethod
    def of(cls, storage: Storage) -> Handover:
        """A handover with this process's credentials."""
        environment = {name: os.environ[name] for name in AWS_CREDENTIALS if name in os.environ}
        return cls(storage=storage.uri, environment=environment)

    def take(self) -> Storage:
        """The storage that was handed over. A node's own credentials take precedence over the driver's."""
        if not any(name in os.environ for name in AWS_CREDENTIALS):  # never mix keys of two pairs
            os.environ.update(self.environment)
        return Storage(self.storage)
