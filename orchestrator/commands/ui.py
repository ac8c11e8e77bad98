"""`paretune ui`: serves the MLflow UI and prints the address of a sweep's view."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from orchestrator.commands.compare import storage_of, sweep_name
from orchestrator.exit_codes import DONE, FAILED, INPUT_IS_WRONG
from orchestrator.recording.mlflow.client import experiment_with
from orchestrator.recording.mlflow.cursor import Cursor
from orchestrator.recording.mlflow.run_record import of_recording
from orchestrator.recording.mlflow.server import ServerError, mlflow_server
from orchestrator.recording.mlflow.views import view_url
from orchestrator.remote.tracking import check_tracking, default_tracking_uri, sqlite_file
from trainables.errors import InputError
from trainables.redact import without_credentials
from trainables.storage import Storage

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient


def ui_command(sweep: str | None, storage: str | None, *, port: int) -> int:
    """Print the address of a sweep's results; serve them until Ctrl-C if no server runs. Returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)  # otherwise the server would survive this process
    try:
        serve_pages(sweep, storage, port=port)
    except ServerError as error:
        print(f"paretune: {error}", file=sys.stderr)
        return FAILED
    except ValueError as error:  # an invalid storage, an invalid sweep file, or no recorded results
        print(f"paretune: {error}", file=sys.stderr)
        return INPUT_IS_WRONG
    except KeyboardInterrupt:
        pass
    return DONE


def serve_pages(sweep: str | None, storage: str | None, *, port: int) -> None:
    """Print the address of a sweep's results; without a running server, serve them until KeyboardInterrupt.

    Without a sweep, the address of the list of all sweeps. `MLFLOW_TRACKING_URI` is respected. Raises InputError if
    nothing is recorded, PortInUseError, or ServerError if the server does not start or ends.
    """
    place = Storage(storage_of(storage))
    tracking_uri = default_tracking_uri(place)
    check_tracking(tracking_uri)
    page = _page(sweep, place, tracking_uri)
    if tracking_uri.startswith(("http://", "https://")):
        print(page(without_credentials(tracking_uri)))
        return
    print("Starting MLflow, which takes some seconds ...", file=sys.stderr)
    with mlflow_server(tracking_uri, port) as (server, process):
        print(f"{page(server)}\nCtrl-C ends it.", flush=True)
        if (code := process.wait()) != 0:
            raise ServerError(f"MLflow's server has ended with exit code {code}")


class _Page:
    """A function from a server's address to the address of the page."""

    def __init__(self, experiment: str | None) -> None:
        self._experiment = experiment

    def __call__(self, server: str) -> str:
        return view_url(server, self._experiment) if self._experiment else server


def _page(sweep: str | None, storage: Storage, tracking_uri: str) -> _Page:
    """Raises InputError if nothing was recorded there, or nothing of this sweep, or if the server does not answer."""
    file = sqlite_file(tracking_uri)
    if file is not None and not file.exists():
        raise InputError(f"nothing is recorded in {file.parent}; run a sweep first, or name its --storage")
    if sweep is None:
        return _Page(None)
    from mlflow.exceptions import MlflowException  # takes seconds
    from mlflow.tracking import MlflowClient

    name = sweep_name(sweep)
    try:
        client = MlflowClient(tracking_uri)
        experiment = _experiment(client, name, storage, tracking_uri)
        others = [] if experiment else client.search_experiments(max_results=20)
    except MlflowException as error:
        what = without_credentials(str(error).splitlines()[0])
        raise InputError(f"MLflow cannot search for sweep {name!r}: {what}") from error
    if experiment is None:
        known = ", ".join(found.name for found in others) or "none"
        raise InputError(f"no sweep {name!r} is recorded in {without_credentials(tracking_uri)}; there are: {known}")
    return _Page(str(experiment.experiment_id))


def _experiment(client: MlflowClient, sweep: str, storage: Storage, tracking_uri: str) -> Experiment | None:
    """The experiment that this storage's sweep was recorded in, even if it was renamed; else the one with its name."""
    try:
        cursor = Cursor(storage, sweep)
    except OSError:  # a bucket that cannot be read does not prevent showing MLflow
        return client.get_experiment_by_name(sweep)
    target = cursor.target if cursor.is_aimed_at(tracking_uri) else None
    known = experiment_with(client, target.experiment, of_recording(cursor.recording)) if target else None
    return known or client.get_experiment_by_name(sweep)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
