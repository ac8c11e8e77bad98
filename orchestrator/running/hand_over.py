"""Passes secrets to the workers without writing them to disk (see trainables.worker.handover)."""

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
    """The key under which workers find the storage's credentials, valid within the context; "" for a local storage.

    This process and the workers must be connected to the same Ray cluster.
    """
    if storage.is_local:
        yield ""
        return
    key = f"storage-{uuid.uuid4().hex}"
    put_value(key, Handover.of(storage).model_dump_json(), NAMESPACE)
    try:
        yield key
    except HeadLostError:
        raise  # otherwise Ray has ended, and the credentials with it
    except BaseException:
        delete_value(key, NAMESPACE)
        raise
    delete_value(key, NAMESPACE)
