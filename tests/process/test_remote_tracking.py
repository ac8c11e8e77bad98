"""What is wrong where MLflow records, said before a sweep runs; what passes by itself is told from what does not."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from orchestrator.remote.tracking import Trouble, trouble_with


class Answer(BaseHTTPRequestHandler):
    """Takes one user with a password, and gives the server's `status` and `body`."""

    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_known = self.headers["Authorization"] == "Basic bWU6cmlnaHQ="  # me:right
        self.send_response(self.server.status if is_known else 401)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


class Server(HTTPServer):
    status, body = 200, b'{"experiments": []}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "right")
    with Server(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def found(tracking_uri: str) -> Trouble:
    trouble = trouble_with(tracking_uri)
    assert trouble is not None
    return trouble


def test_a_server_that_answers_as_mlflow_does_is_well(server: Server) -> None:
    assert trouble_with(address(server)) is None


def test_wrong_credentials_are_told_with_the_way_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    trouble = found(address(server))
    assert str(trouble).startswith(f"MLflow at {address(server)} refuses (401): set MLFLOW_TRACKING_USERNAME")
    assert not trouble.passes


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (404, b"{}"), (501, b""), (200, b"[1]")])
def test_a_server_that_is_no_mlflow(server: Server, status: int, body: bytes) -> None:
    server.status, server.body = status, body
    trouble = found(address(server))
    assert trouble.finding == f"{address(server)} is no MLflow server (it answers {status})"
    assert not trouble.passes


def test_an_outage_passes(server: Server) -> None:
    server.status = 503
    assert found(address(server)).passes
    gone = found("http://me:hunter2@127.0.0.1:9")
    assert gone.passes
    assert gone.finding == "MLflow at http://127.0.0.1:9 does not answer (ConnectionError)"


def test_https_where_none_is_spoken(server: Server) -> None:
    trouble = found(address(server).replace("http", "https"))
    assert "cannot be reached over https" in trouble.what
    assert not trouble.passes


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ("localhost:5000", "write http://localhost:5000 for a server"),
        ("mlflow.example.com", "write http://mlflow.example.com for a server"),
        ("not an address", "write http://HOST:PORT for a server"),
        ("/data/mlruns", "write sqlite:////data/mlruns/mlflow.db"),
        ("file:///data/mlruns", "write sqlite:////data/mlruns/mlflow.db"),
        ("http://127.0.0.1:99999", "correct MLFLOW_TRACKING_URI"),
    ],
)
def test_an_address_that_is_none(given: str, way_out: str) -> None:
    trouble = found(given)
    assert trouble.way_out.startswith(way_out)
    assert not trouble.passes


@pytest.mark.parametrize("given", ["databricks", "databricks://profile", "arn:aws:sagemaker:x", "azureml://x"])
def test_what_an_extension_of_mlflow_knows_is_left_to_it(given: str) -> None:
    assert trouble_with(given) is None


def database(file: Path, version: str | None) -> str:
    """The tracking URI of a database of so much as tells its version."""
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 1000,)] * 50)
        if version:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    connection.close()
    return f"sqlite:///{file}"


def newest_version() -> str:
    import mlflow.store.db_migrations
    from alembic.script import ScriptDirectory

    head = ScriptDirectory(str(Path(str(mlflow.store.db_migrations.__file__)).parent)).get_current_head()
    assert head is not None
    return head


def test_a_database_of_the_installed_version_is_well_and_so_is_none(tmp_path: Path) -> None:
    assert trouble_with(database(tmp_path / "a.db", newest_version())) is None
    assert trouble_with(f"sqlite:///{tmp_path}/none-yet.db") is None
    (tmp_path / "empty.db").touch()
    assert trouble_with(f"sqlite:///{tmp_path}/empty.db") is None


@pytest.mark.parametrize(
    ("version", "what", "way_out"),
    [
        (
            "bd07f7e963c5",
            "is of an older version of MLflow",
            "copy it, then bring it up to date: mlflow db upgrade",
        ),
        ("ffffffffffff", "is of another version of MLflow than the installed", "install the MLflow that wrote it"),
        (None, "belongs to another program", "move it away (mv "),
    ],
)
def test_a_database_of_another_version(tmp_path: Path, version: str | None, what: str, way_out: str) -> None:
    trouble = found(database(tmp_path / "a.db", version))
    assert trouble.what.startswith(what)
    assert trouble.way_out.startswith(way_out)
    assert not trouble.passes


@pytest.mark.parametrize("keep", [0, 100, 8192])
def test_a_damaged_database(tmp_path: Path, keep: int) -> None:
    uri = database(tmp_path / "a.db", newest_version())
    file, chance = tmp_path / "a.db", random.Random(5)  # noqa: S311 - damage, not a secret
    content = file.read_bytes()
    file.write_bytes(content[:keep] + chance.randbytes(len(content) - keep))
    trouble = found(uri)
    assert trouble.what == "is damaged"
    assert f"mv {file} {file}.aside" in trouble.way_out
    assert not trouble.passes
