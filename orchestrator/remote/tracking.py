"""Where MLflow keeps a sweep's runs, and what is wrong there: looked at before a run, in an outage, and by doctor.

An outage passes; what does not pass by waiting is said with its way out.
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

MLFLOW_ENVIRONMENT = {  # what MLflow reads when it is imported
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # below, a database's every refusal is a hundred lines; ours is one
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # trying again is the recorder's work; MLflow's own takes minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),  # seconds; a user's own stays
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for every run's end, into the sweep's own output
}
SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
ANSWER_SECONDS = 5.0
KEY = "MLFLOW_TRACKING_URI"
DEFAULT_STORAGE = "paretune-results"  # where results are if nobody says otherwise: a folder here


@dataclass(frozen=True)
class Trouble:
    subject: str  # the address, without its password
    what: str  # is wrong with it: a sentence's rest
    way_out: str
    passes: bool = False  # by waiting, as an outage does

    @property
    def finding(self) -> str:
        return f"{self.subject} {self.what}"

    def __str__(self) -> str:
        return f"{self.finding}: {self.way_out}"


class TrackingError(InputError):
    """MLflow cannot record there, now or later."""


class NoPlaceForDatabaseError(InputError, OSError):
    """A folder that MLflow cannot keep its database in."""


def default_tracking_uri(storage: Storage) -> str:
    """`MLFLOW_TRACKING_URI`, or an SQLite file beside the sweeps; on an object store, in ./paretune-results.

    Raises NoPlaceForDatabaseError for a path in which SQLAlchemy would take a part for options, quoted or not.
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
    """Raises TrackingError for what waiting does not mend. An outage is none: a sweep goes on through it."""
    trouble = trouble_with(tracking_uri)
    if trouble and not trouble.passes:
        raise TrackingError(str(trouble))


def trouble_with(tracking_uri: str) -> Trouble | None:
    """Asks; changes nothing. None also for kinds of stores that are not known here, as Databricks'."""
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
    return Trouble(shown, "is no address of MLflow", f"{way_out}, or sqlite:////path/mlflow.db for a file")


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
            return Trouble(shown, "is no address", _mend_address())
        way_out = f"start it, or correct {KEY}; a sweep goes on without it and catches up"
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
        return None  # it will be made
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
        way_out = f"correct {KEY}, or its permissions" if refused else "a sweep goes on without it and catches up"
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
    return f"move it away ({aside}); a sweep that is run again fills a new one from its own journal"


def _of_version(connection: Connection, shown: str, tracking_uri: str, file: Path | None) -> Trouble | None:
    """Whether the installed MLflow works with the database's tables."""
    import sqlalchemy
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.version import VERSION

    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        if not sqlalchemy.inspect(connection).get_table_names():
            return None  # empty: MLflow will make its tables
        return Trouble(shown, "is another program's", _begin_anew(file))
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
    """A failure of MLflow's in one line: what its database said, where that is the cause."""
    said = next((orig for each in (error, error.__cause__) if (orig := getattr(each, "orig", None))), error)
    return without_credentials(f"{type(said).__name__}: {first_line(said)}")[:300]
