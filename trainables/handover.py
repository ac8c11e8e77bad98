"""What the workers need and nobody else may read: kept in the memory of Ray's head, in no file and in no log.

Tune writes a trial's configuration into files that everyone on the machine can read, and so does Ray's agent with the
environment of every process that it starts. What they are given is therefore a key, under which the head has the rest.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from ray.experimental import internal_kv

from trainables.frozen import Frozen
from trainables.storage import Storage

# Of the driver, for workers on other nodes. Tune would send them along by itself, and so into a log.
AWS_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
NAMESPACE = "paretune"


class Handover(Frozen):
    storage: str  # the whole URI, with the credentials in it
    environment: dict[str, str]


@contextmanager
def handed_over(storage: Storage) -> Iterator[str]:
    """The key under which workers find how to reach the storage, for as long as the context lasts; "" if it is local.

    This process, and those who look for the key, are connected to one Ray.
    """
    if storage.is_local:
        yield ""
        return
    environment = {name: os.environ[name] for name in AWS_CREDENTIALS if name in os.environ}
    value = Handover(storage=storage.uri, environment=environment).model_dump_json()
    key = f"storage-{uuid.uuid4().hex}"
    internal_kv._internal_kv_put(key, value, namespace=NAMESPACE)
    try:
        yield key
    finally:
        internal_kv._internal_kv_del(key, namespace=NAMESPACE)


def reached(key: str) -> Storage:
    """The storage that was handed over. A node's own credentials stand before those of the driver.

    Raises RuntimeError if the sweep has ended.
    """
    value = internal_kv._internal_kv_get(key, namespace=NAMESPACE)
    if value is None:
        raise RuntimeError("the sweep's storage is not known any more: its driver has ended")
    handover = Handover.model_validate_json(value)
    if not any(name in os.environ for name in AWS_CREDENTIALS):  # a pair of keys is never mixed with another
        os.environ.update(handover.environment)
    return Storage(handover.storage)
