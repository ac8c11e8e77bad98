"""Hands secrets to the workers without writing them down (see trainables.worker.handover)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.compat import delete_value, put_value
from orchestrator.running.watch import HeadLostError
from trainables.storage import Storage
from trainables.worker.handover import NAMESPACE, Handover


@contextmanager
def handed_over(storage: Storage) -> Iterator[str]:
    """The key under which workers find how to reach the storage, for as long as the context lasts; "" if it is local.

    This process, and those who look for the key, are connected to one Ray.
    """
    if storage.is_local:
        yield ""
        return
    key = f"storage-{uuid.uuid4().hex}"
    put_value(key, Handover.of(storage).model_dump_json(), NAMESPACE)
    try:
        yield key
    except HeadLostError:
        raise  # what it held went with it
    except BaseException:
        delete_value(key, NAMESPACE)
        raise
    delete_value(key, NAMESPACE)
