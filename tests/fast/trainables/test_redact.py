"""What of an address is never kept nor printed."""

from __future__ import annotations

import pytest

from trainables.redact import without_credentials


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("abfss://box@acc.dfs.net/x?sv=1&sig=PW%2B/a=&se=2", "abfss://box@acc.dfs.net/x?sv=1&sig=***&se=2"),
        ("postgresql://db/mlflow?user=me&password=PW", "postgresql://db/mlflow?user=me&password=***"),
        ("s3://b/x?Secret_Key=PW&region=eu", "s3://b/x?Secret_Key=***&region=eu"),
        ("http://me:PW@h/?client_secret=PW#part", "http://h/?client_secret=***#part"),
        ("https://b/x?X-Amz-Signature=PW", "https://b/x?X-Amz-Signature=***"),
        ("jdbc:sqlserver://h;user=me;password=PW", "jdbc:sqlserver://h;user=me;password=***"),
        ("storage 'abfs://b@a/x?sig=PW': no such", "storage 'abfs://b@a/x?sig=***': no such"),
        ("abfs://box:PW@acc/x", "abfs://box@acc/x"),
        ("abfs://:P@W@acc/box", "abfs://acc/box"),
    ],
)
def test_secrets_are_left_out_and_the_place_stays(address: str, shown: str) -> None:
    assert without_credentials(address) == shown
    assert without_credentials(shown) == shown


@pytest.mark.parametrize(
    "address",
    [
        "abfs://box@account/x",
        "ABFSS://box@account.dfs.core.windows.net/x",
        "gs://anonymous@bucket/x?scheme=http",
        "s3://bucket/x?region=eu-west-1&endpoint_override=localhost:9000",
    ],
)
def test_an_address_without_secrets_stays_as_it_is(address: str) -> None:
    assert without_credentials(address) == address
