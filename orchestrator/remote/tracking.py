"""The place of a sweep's MLflow runs, and its problems: checked before a run, during an outage, and by doctor.

An outage is temporary. A problem that waiting does not solve is reported with a way out.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.compat import ask_mlflow, mlflow_migrations
from trainables.error_text import first_line
from trainables.errors import InputError
from trainables.redact import without_credentials
from trainables.storage import Storage

if TYPE_CHECKING:
    from sqlalchemy import Connection

MLFLOW_ENVIRONMENT = {  # variables that MLflow reads at import
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # at lower levels, each database error takes a hundred lines; ours takes one
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the recorder retries; MLflow's own retries take minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),  # seconds; a user's value wins
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # otherwise two lines per run appear in the sweep's output
}
SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
ANSWER_SECONDS = 5.0
KEY = "MLFLOW_TRACKING_URI"
DEFAULT_STORAGE = "paretune-results"  # the default folder for results, below the current one


@dataclass(frozen=True)
class Trouble:
    subject: str  # the address, without its password
    what: str  # the problem: the rest of the sentence
    way_out: str
    passes: bool = False  # whether it may end by itself, as an outage does

    @property
    def finding(self) -> str:
        return f"{self.subject} {self.what}"

    def __str__(self) -> str:
        return f"{self.finding}: {self.way_out}"


class TrackingError(InputError):
    """MLflow cannot record there, and waiting does not help."""


class NoPlaceForDatabaseError(InputError, OSError):
    """A folder that MLflow cannot keep its database in."""


def default_tracking_uri(storage: Storage) -> str:
    """`MLFLOW_TRACKING_URI`, or an SQLite file beside the sweeps; for an object store, in ./paretune-results.

    Raises NoPlaceForDatabaseError for a path with `?`, which SQLAlchemy reads as the start of options, quoted or not.
    """
    if given := os.environ.get("MLFLOW_TRACKING_URI"):
        return given
    root = storage.root if storage.is_local else os.path.abspath(DEFAULT_STORAGE)
    if "?" in root:
        raise NoPlaceForDatabaseError(
            f"MLflow cannot keep its database in {root}: the address of an SQLite file must not contain '?'. "
            "Choose another folder as --storage, or set MLFLOW_TRACKING_URI to a server"
        )
    return f"sqlite:///{root}/mlflow.db"


def sqlite_file(tracking_uri: str) -> Path | None:
    return Path(tracking_uri.removeprefix("sqlite:///")) if tracking_uri.startswith("sqlite:///") else None


def check_tracking(tracking_uri: str) -> None:
    """Raises TrackingError for a problem that waiting does not solve. A sweep continues through an outage."""
    trouble = trouble_with(tracking_uri)
    if trouble and not trouble.passes:
        raise TrackingError(str(trouble))


def trouble_with(tracking_uri: str) -> Trouble | None:
    """The problem of an MLflow address, found without changing anything. None also for unknown stores (Databricks)."""
    os.environ.update(MLFLOW_ENVIRONMENT)
    kind = tracking_uri.partition("://")[0].partition("+")[0].lower() if "://" in tracking_uri else ""
    if kind in SERVERS:
        return _of_server(tracking_uri)
    if kind in DATABASES:
        return _of_database(tracking_uri)
    return _of_address(tracking_uri, kind)


def _of_address(tracking_uri: str, kind: str) -> Trouble | None:
    shown = f"{KEY} {without_credentials(tracking_uri)!r}"
    is_folder = kind == "file" or tracking_uri.startswith((".", "/", "~", "file:")) or tracking_uri == "mlruns"
    if is_folder:
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
            return None
        folder = Path(tracking_uri.removeprefix("file:").removeprefix("//")).expanduser().absolute()
        return Trouble(shown, "is a folder, which MLflow no longer records in", f"write sqlite:///{folder}/mlflow.db")
    if kind or tracking_uri.startswith(("databricks", "uc", "arn:")):
        return None  # an extension of MLflow knows it
    way_out = (
        f"write http://{tracking_uri} for a server"
        if re.fullmatch(r"[\w.-]+(:\d+)?(/.*)?", tracking_uri)
        else ("write http://HOST:PORT for a server")
    )
    return Trouble(shown, "is not an MLflow address", f"{way_out}, or sqlite:////path/mlflow.db for a file")


def _of_server(tracking_uri: str) -> Trouble | None:
    import requests
    from mlflow.exceptions import MlflowException  # takes seconds

    shown = f"MLflow at {without_credentials(tracking_uri)}"
    question = {"json": {"max_results": 1}, "timeout": ANSWER_SECONDS, "max_retries": 0, "raise_on_status": False}
    try:
        answer = ask_mlflow(tracking_uri, "/api/2.0/mlflow/experiments/search", "POST", **question)
    except MlflowException as error:
        cause = error.__context__ or error
        if isinstance(cause, requests.exceptions.SSLError):
            why = re.search(r"\[SSL: (\w+)\]", str(cause))
            return Trouble(shown, f"cannot be reached over https ({why[1] if why else 'SSLError'})", _mend_address())
        if isinstance(cause, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
            return Trouble(shown, "is not a valid address", _mend_address())
        way_out = f"start it, or correct {KEY}; a sweep continues without it, and records everything later"
        return Trouble(shown, f"does not answer ({type(cause).__name__})", way_out, passes=True)
    if answer.status_code in (401, 403):
        way_out = (
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, "
            "or allow this name with the server's --allowed-hosts"
        )
        return Trouble(shown, f"refuses ({answer.status_code})", way_out)
    if answer.ok and _is_object(answer):
        return None
    if answer.status_code >= 500 and answer.status_code != 501:
        return Trouble(shown, f"answers {answer.status_code}", "look at the server's log", passes=True)
    what = f"is no MLflow server (it answers {answer.status_code})"
    return Trouble(without_credentials(tracking_uri), what, _mend_address())


def _mend_address() -> str:
    return f"correct {KEY}, or unset it to record in a file beside the results"


def _is_object(answer: Any) -> bool:
    try:
        return isinstance(answer.json(), dict)
    except ValueError:
        return False


def _of_database(tracking_uri: str) -> Trouble | None:
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

    file, shown = sqlite_file(tracking_uri), f"MLflow's database {without_credentials(tracking_uri)}"
    if file and not file.exists():
        return None  # the file will be created
    try:
        engine = sqlalchemy.create_engine(tracking_uri)
    except (ArgumentError, ImportError) as error:  # a driver that is not installed
        return Trouble(shown, f"cannot be opened ({reason(error)})", f"install its driver, or {_mend_address()}")
    try:
        with engine.connect() as connection:
            if file and connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
                return _damaged(shown, file)
            return _of_version(connection, shown, tracking_uri, file)
    except OperationalError as error:
        refused = re.search(r"authentication failed|access denied|unable to open|does not exist", str(error), re.I)
        later = "a sweep continues without it, and records everything later"
        way_out = f"correct {KEY}, or its permissions" if refused else later
        return Trouble(shown, f"cannot be opened ({reason(error)})", way_out, passes=not refused)
    except DatabaseError:
        return _damaged(shown, file)
    finally:
        engine.dispose()


def _damaged(shown: str, file: Path | None) -> Trouble:
    return Trouble(shown, "is damaged", _begin_anew(file))


def _begin_anew(file: Path | None) -> str:
    if file is None:
        return f"name another in {KEY}"
    aside = shlex.join(["mv", str(file), f"{file}.aside"])
    return f"move it away ({aside}); running a sweep again fills a new one from the sweep's journal"


def _of_version(connection: Connection, shown: str, tracking_uri: str, file: Path | None) -> Trouble | None:
    """The problem if the installed MLflow does not work with the database's tables."""
    import sqlalchemy
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.version import VERSION

    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        if not sqlalchemy.inspect(connection).get_table_names():
            return None  # empty: MLflow will create its tables
        return Trouble(shown, "belongs to another program", _begin_anew(file))
    versions = ScriptDirectory(str(mlflow_migrations()))
    if found == versions.get_current_head():
        return None
    try:
        versions.get_revision(found)
    except CommandError:
        what = f"is of another version of MLflow than the installed {VERSION}"
        return Trouble(shown, what, f"install the MLflow that wrote it, or {_begin_anew(file)}")
    way_out = f"copy it, then bring it up to date: mlflow db upgrade {shlex.quote(without_credentials(tracking_uri))}"
    return Trouble(shown, "is of an older version of MLflow", way_out)


def reason(error: BaseException) -> str:
    """A failure of MLflow in one line: the database's error, if that is the cause."""
    said = next((orig for each in (error, error.__cause__) if (orig := getattr(each, "orig", None))), error)
    return without_credentials(f"{type(said).__name__}: {first_line(said)}")[:300]
