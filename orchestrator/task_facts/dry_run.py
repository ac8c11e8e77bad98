"""The dry run of a user's task on a few rows of its data: finds errors that trials would meet only after hours.

It runs in a fresh process, without a GPU, so that neither the task's effects on its process nor a large model can stop
the driver. Errors that only a trial's machine can show (a GPU kernel, a model that does not fit here) are left to the
trials. `dry_run_steps` and `dry_run_variants` contain the steps.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
VARIANTS_BEGIN_WITHIN_SECONDS = 60.0  # what comes later is left to the trials


class DryRunRequest(FrozenConfig):
    task: str
    options: tuple[dict[str, Scalar], ...]  # the combinations to try
    search_path: tuple[str, ...]
    requirements: Requirements
    cache: str

    @property
    def is_users(self) -> bool:
        """Whether the task is not a built-in one."""
        return ":" in self.task


class DryRunResponse(FrozenConfig):
    problems: tuple[tuple[str, ...], ...]  # for each combination, what was found
    notes: tuple[str, ...] = ()  # what stands in nobody's way, and should be known before anything is spent


def rehearse(
    task: str,
    options: Sequence[Mapping[str, Scalar]],
    search_path: tuple[str, ...],
    requirements: Requirements,
) -> DryRunResponse:
    """The problems of the task, for every combination of its options."""
    return _rehearse(
        DryRunRequest(
            task=task,
            options=tuple(dict(one) for one in options),
            search_path=search_path,
            requirements=requirements,
            cache=str(default_cache()),
        )
    )


def _rehearse(request: DryRunRequest) -> DryRunResponse:
    try:
        text = in_fresh_process(
            "orchestrator.task_facts.dry_run",
            request.model_dump_json(),
            default_cache(),
            {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            DRY_RUN_TIMEOUT_SECONDS,
            "dry run",
        )
    except ChildError as error:  # it took too long, or all of the memory: nothing was learned
        untried = f"not tried before training: {error}"
        if not request.requirements.chains:
            return DryRunResponse(problems=((),) * len(request.options), notes=(f"the task was {untried}",))
        fewer = request.requirements.model_copy(update={"chains": ()})  # variants take most of both
        response = _rehearse(request.model_copy(update={"requirements": fewer}))
        return response.model_copy(update={"notes": (*response.notes, f"variants were {untried}")})
    return DryRunResponse.model_validate_json(text)


# -- in the process ---------------------------------------------------------------------------------------------------


@dataclass
class Findings:
    """The outcome of the dry run for one combination of options."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[ExportedFile] = field(default_factory=list)


def respond(text: str) -> str:
    from orchestrator.task_facts.files_read import files_opened
    from trainables.process.isolation import Snapshot

    no_variant_after = time.monotonic() + VARIANTS_BEGIN_WITHIN_SECONDS
    request = DryRunRequest.model_validate_json(text)
    before = Snapshot.take()
    sys.path[:0] = request.search_path
    attempts = _attempts(request)
    found: list[Findings] = []
    Path(request.cache).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.cache) as folder:
        for options in request.options:
            with files_opened() as opened:
                if request.is_users:
                    before.import_module(request.task.partition(":")[0])
                tried = _try(attempts, options, Path(folder), no_variant_after)
            if request.is_users and not tried.problems:
                tried.problems += _undeclared(opened, request, options)
            found.append(tried)
            before.restore()
        files = [file for one in found for file in one.files] if request.is_users else []
        unread = unreadable(files, Path(request.cache), request.search_path, READING_BACK_SECONDS) if files else ()
    notes = [note for one in found for note in one.notes] + [
        f"the exported model can be read only where the task's module is imported: {problem}"
        for problem in unread
        if problem is not None
    ]
    return DryRunResponse(
        problems=tuple(tuple(one.problems) for one in found), notes=tuple(dict.fromkeys(notes))
    ).model_dump_json()


def _attempts(request: DryRunRequest) -> Callable[[Mapping[str, Scalar], Path], Attempt | None]:
    """A function that makes the attempt of a combination of options; each source is looked at once for all of them."""
    from orchestrator.task_facts.data_preview import preview
    from orchestrator.task_facts.dry_run_steps import Attempt
    from orchestrator.task_facts.sample_rows import odd_rows
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
        read = Selection.of(data.train.columns, task.columns, data.preparation)
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
    no_variant_after: float,
) -> Findings:
    from orchestrator.task_facts.dry_run_steps import NotTriedError
    from orchestrator.task_facts.dry_run_variants import try_variants
    from trainables.data.sources import DataError
    from trainables.tasks.load import TaskError

    found = Findings()
    try:
        if (attempt := attempts(options, folder)) is None:
            return found
        attempt.baseline()
        try:
            found.files.append(attempt.file())
        except TaskError as error:
            if attempt.asked.compresses:
                raise
            found.notes.append(f"{error}. It can be trained all the same")
        variants = try_variants(attempt, no_variant_after)
        found.problems += variants.problems
        found.notes += variants.notes
    except (DataError, TaskError) as error:
        found.problems.append(str(error))
    except NotTriedError:
        pass
    return found


def _undeclared(opened: Iterable[str], request: DryRunRequest, options: Mapping[str, Scalar]) -> list[str]:
    """What to say of files that the task has read and does not name."""
    from orchestrator.task_facts.files_read import check_declared
    from trainables.tasks.load import TaskError

    try:
        check_declared(opened, request.task, options, request.search_path, Path(request.cache))
    except TaskError as error:
        return [str(error)]
    return []


if __name__ == "__main__":
    answer(respond, sys.argv[1:])
