"""A bucket on loopback: moto's server, which answers as S3 does."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}


@contextmanager
def bucket(name: str = "bucket") -> Iterator[str]:
    """The URI of an empty bucket: `s3://...?endpoint_override=...`, without a folder."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        # moto keeps its buckets per process, not per server: an earlier test's objects would still be there
        urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **KEYS)
        client.create_bucket(Bucket=name)
        yield f"s3://key:secret@{name}?scheme=http&endpoint_override={host}:{port}&region=us-east-1"
    finally:
        server.stop()
