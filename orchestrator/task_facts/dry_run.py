"""A user's task tried on a few rows of its data, in a moment: what its trials and their variants would say after hours.

In a process of its own, without a GPU: whatever the task does to its process, and however large its model is, the
driver goes on. What only a trial's machine can tell (a kernel of a GPU, a model that does not fit here) is left to the
trials. What is tried is told in `attempt`.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.diagnostics.task_needs import Requirements
from trainables.config.base import FrozenConfig
from trainables.config.trial import Scalar
from trainables.data.fingerprint import default_cache
from trainables.data.selection import Selection
from trainables.measure.read_back import ExportedFile, unreadable
from trainables.process.fresh_process import ChildError, answer, in_fresh_process

if TYPE_CHECKING:
    from orchestrator.task_facts.dry_run_steps import Attempt
    from trainables.tasks.base import Task

DRY_RUN_TIMEOUT_SECONDS = 180.0
READING_BACK_SECONDS = 60.0  # of them


class DryRunRequest(FrozenConfig):
    task: str
    options: tuple[dict[str, Scalar], ...]  # the combinations to try
    search_path: tuple[str, ...]
    requirements: Requirements
    cache: str


class DryRunResponse(FrozenConfig):
    problems: tuple[str | None, ...]  # one for each combination; None where nothing was found
    notes: tuple[str, ...] = ()  # what stands in nobody's way, and should be known before anything is spent


def rehearse(
    task: str,
    options: Sequence[Mapping[str, Scalar]],
    search_path: tuple[str, ...],
    requirements: Requirements,
) -> DryRunResponse:
    """What is wrong with the task, for every combination of its options."""
    combinations = tuple(dict(one) for one in options)
    request = DryRunRequest(
        task=task,
        options=combinations,
        search_path=search_path,
        requirements=requirements,
        cache=str(default_cache()),
    )
    try:
        text = in_fresh_process(
            "orchestrator.task_facts.dry_run",
            request.model_dump_json(),
            default_cache(),
            {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            DRY_RUN_TIMEOUT_SECONDS,
            "trying the task",
        )
    except ChildError:  # it took too long, or all of the memory: nothing was learned
        return DryRunResponse(problems=(None,) * len(combinations))
    return DryRunResponse.model_validate_json(text)


# -- in the process ---------------------------------------------------------------------------------------------------


def respond(text: str) -> str:
    from orchestrator.task_facts.files_read import files_opened
    from trainables.process.isolation import Snapshot

    request = DryRunRequest.model_validate_json(text)
    before = Snapshot.take()
    sys.path[:0] = request.search_path
    attempts = _attempts(request)
    problems: list[str | None] = []
    notes: list[str] = []
    files: list[ExportedFile] = []
    Path(request.cache).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.cache) as folder:
        for options in request.options:
            with files_opened() as opened:
                before.import_module(request.task.partition(":")[0])
                problem = _try(attempts, options, Path(folder), files, notes)
            problems.append(problem or _undeclared(opened, request, options))
            before.restore()
        unread = unreadable(files, Path(request.cache), request.search_path, READING_BACK_SECONDS) if files else ()
    notes += [
        f"the exported model can be read only where the task's module is imported: {problem}"
        for problem in unread
        if problem is not None
    ]
    return DryRunResponse(problems=tuple(problems), notes=tuple(dict.fromkeys(notes))).model_dump_json()


def _attempts(request: DryRunRequest) -> Callable[[Mapping[str, Scalar], Path], Attempt | None]:
    """A function that makes the attempt of a combination of options; each source is looked at once for all of them."""
    from orchestrator.task_facts.data_preview import preview
    from orchestrator.task_facts.dry_run_steps import Attempt
    from orchestrator.task_facts.sample_rows import odd_rows
    from trainables.tasks.columns_read import kept_as_stored
    from trainables.tasks.load import TaskError, load_task
    from trainables.tasks.task_data import open_data, sources_of

    first, odd, cache = functools.cache(preview), functools.cache(odd_rows), Path(request.cache)

    def attempt(options: Mapping[str, Scalar], folder: Path) -> Attempt | None:
        try:
            task: Task = load_task(request.task, options, request.search_path)
        except TaskError:  # the driver has loaded it: it is this process that lacks something, such as a GPU
            return None
        sources = sources_of(task)
        data = open_data(task, cache, first)
        read = Selection.of(data.train.columns, kept_as_stored(task))
        return Attempt(
            task,
            data,
            lambda split: odd(sources[split], cache, tuple(task.inputs), read),
            request.requirements,
            folder,
        )

    return attempt


def _try(
    attempts: Callable[[Mapping[str, Scalar], Path], Attempt | None],
    options: Mapping[str, Scalar],
    folder: Path,
    files: list[ExportedFile],
    notes: list[str],
) -> str | None:
    """What is wrong with one combination; the model's file, and what is but to be noted, are appended."""
    from orchestrator.task_facts.dry_run_steps import NotTriedError
    from trainables.data.sources import DataError
    from trainables.tasks.load import TaskError

    try:
        if (attempt := attempts(options, folder)) is None:
            return None
        attempt.baseline()
        try:
            files.append(attempt.file())
        except TaskError as error:
            if attempt.asked.compresses:
                raise
            notes.append(f"{error}. It can be trained all the same")
        attempt.students()
    except (DataError, TaskError) as error:
        return str(error)
    except NotTriedError:
        pass
    return None


def _undeclared(opened: Iterable[str], request: DryRunRequest, options: Mapping[str, Scalar]) -> str | None:
    """What to say of files that the task has read and does not name."""
    from orchestrator.task_facts.files_read import check_declared
    from trainables.tasks.load import TaskError

    try:
        check_declared(opened, request.task, options, request.search_path, Path(request.cache))
    except TaskError as error:
        return str(error)
    return None


if __name__ == "__main__":
    answer(respond, sys.argv[1:])
