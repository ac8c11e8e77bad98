"""A user's task tried on the first rows of its data, in a moment: what its first trial would say after minutes.

In a process of its own, without a GPU: whatever the task does to its process, and however large its model is, the
driver goes on. What only a trial's machine can tell (a kernel of a GPU, a model that does not fit here) is left to the
trials.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from trainables.child import ChildError, answer, in_fresh_process
from trainables.config import Scalar
from trainables.data.fingerprint import default_cache
from trainables.frozen import Frozen
from trainables.words import own_place

TIMEOUT_SECONDS = 120.0
# In what an error says, in small letters:
NOT_HERE = ("cuda", "nvidia", "gpu", "triton", "active drivers", "out of memory", "can't allocate")


class Request(Frozen):
    task: str
    options: tuple[dict[str, Scalar], ...]  # the combinations to try
    search_path: tuple[str, ...]
    student_widths: tuple[float, ...] | None
    cache: str


class Response(Frozen):
    problems: tuple[str | None, ...]  # one for each combination


def rehearse(
    task: str,
    options: Sequence[Mapping[str, Scalar]],
    search_path: tuple[str, ...],
    student_widths: Sequence[float] | None = None,
) -> Sequence[str | None]:
    """What is wrong with the task, for every combination of its options; None where nothing was found.

    With `student_widths`, which may be none, its exported model is tried too, and students of these widths.
    """
    combinations = tuple(dict(one) for one in options)
    widths = None if student_widths is None else tuple(student_widths)
    request = Request(
        task=task, options=combinations, search_path=search_path, student_widths=widths, cache=str(default_cache())
    )
    try:
        text = in_fresh_process(
            "orchestrator.sweepfile.rehearsal",
            request.model_dump_json(),
            default_cache(),
            {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            TIMEOUT_SECONDS,
            "trying the task",
        )
    except ChildError:  # it took too long, or all of the memory: nothing was learned
        return [None] * len(combinations)
    return Response.model_validate_json(text).problems


# -- in the process ---------------------------------------------------------------------------------------------------


def respond(text: str) -> str:
    from orchestrator.sweepfile.files_read import check_declared, files_opened
    from orchestrator.sweepfile.preview import preview
    from trainables.clean import Snapshot
    from trainables.data import DataError
    from trainables.tasks import TaskError

    request = Request.model_validate_json(text)
    before = Snapshot.take()
    sys.path[:0] = request.search_path
    look = functools.cache(preview)
    problems: list[str | None] = []
    for options in request.options:
        try:
            with files_opened() as opened:
                before.import_module(request.task.partition(":")[0])
                _try(request, options, look)
            check_declared(opened, request.task, options, request.search_path, Path(request.cache))
            problems.append(None)
        except (DataError, TaskError) as error:
            problems.append(str(error))
        before.restore()
    return Response(problems=tuple(problems)).model_dump_json()


def _try(request: Request, options: Mapping[str, Scalar], look: functools._lru_cache_wrapper) -> None:  # type: ignore[type-arg]
    """The columns of all three sets of data; the model; a loss with gradients in training; all figures in judging.

    Judging is tried on one row too, as a trial begins with that. Where it is to be compressed, the model as a file
    would hold it, and students. Raises DataError, TaskError.
    """
    import numpy as np
    import torch

    from orchestrator.sweepfile.preview import PREVIEW_ROWS
    from trainables.artifact import export_program
    from trainables.compression.distill import blended
    from trainables.config import Distill
    from trainables.data import open_data
    from trainables.evaluate import ItemsError, item_losses, item_values
    from trainables.measure import of_first_rows
    from trainables.model_inputs import model_inputs
    from trainables.tasks import TaskError, load_task

    try:
        task = load_task(request.task, options, request.search_path)
    except TaskError:  # the driver has loaded it: it is this process that lacks something, such as a GPU
        return
    name = type(task).__name__
    data = open_data(task, Path(request.cache), look)
    _ = data.test  # its columns are compared with the others'
    doing = ".build_model() failed"

    def run() -> None:
        nonlocal doing
        doing = " failed on the first rows of its train data"
        batch = data.train.gather(np.arange(PREVIEW_ROWS) % data.train.n_rows)
        losses = item_losses(task, task.forward(model.train(), batch), batch)
        if not losses.requires_grad:
            raise ItemsError(f"{name}.losses() does not depend on any parameter of the model")
        torch.autograd.backward(losses.sum())
        if any(one.grad is not None and one.grad.is_sparse for one in model.parameters()):
            raise ItemsError(f"{name}.build_model() gives sparse gradients: leave out sparse=True")
        model.zero_grad(set_to_none=True)
        doing = " failed on the first rows of its validation data"
        with torch.no_grad():
            for rows in (PREVIEW_ROWS, 1):
                batch = data.validation.gather(np.arange(rows) % data.validation.n_rows)
                item_values(task, task.forward(model.eval(), batch), batch)

    def compress() -> None:
        nonlocal doing
        doing = " cannot be compressed: its exported model failed on the first rows of its validation data"
        batch = data.validation.gather(np.arange(PREVIEW_ROWS) % data.validation.n_rows)
        program = export_program(model, model_inputs(task, model.eval(), batch))
        with torch.no_grad():
            outputs = task.forward(program.module(), batch)
            item_values(task, of_first_rows(outputs, PREVIEW_ROWS, PREVIEW_ROWS), batch)
            for width in request.student_widths or ():
                doing = f" cannot be distilled: a student of width {width:g} failed"
                student = task.build_model(width=width).cpu().eval()
                blended(model.eval(), task, Distill(width=width))(student, batch)

    try:
        model = task.build_model().cpu()
        if isinstance(model, torch._dynamo.OptimizedModule):
            raise ItemsError(f"{name}.build_model() returns torch.compile(model): call model.compile(), return model")
        run()
        if request.student_widths is not None:
            compress()
    except Exception as error:
        problem = _problem(name, doing, error, data.train.columns)
        if problem is None or (doing.startswith(" failed") and _succeeds(run)):
            return
        raise TaskError(problem) from error


def _succeeds(run: Callable[[], None]) -> bool:
    """Whether it does in mixed precision, which takes columns that a model in float32 does not."""
    import torch

    with contextlib.suppress(Exception), torch.autocast("cpu", dtype=torch.bfloat16):
        run()
        return True
    return False


def _problem(name: str, doing: str, error: Exception, columns: Collection[str]) -> str | None:
    """What to say of an error; None if it may be one of this machine alone."""
    from trainables.artifact import ArtifactError
    from trainables.compression.errors import CompressionError
    from trainables.evaluate import ItemsError

    if isinstance(error, ItemsError):
        return str(error)
    if isinstance(error, ArtifactError | CompressionError):
        return f"{name} cannot be compressed: {error}"
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    frames = traceback.extract_tb(error.__traceback__)
    told = f"{said} {frames[-1].line or ''}".lower()  # an assert may say nothing but its own line
    if isinstance(error, MemoryError) or any(word in told for word in NOT_HERE):
        return None
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    lacks = isinstance(key, str) and key not in columns
    known = f"; columns are {', '.join(columns)}" if lacks else ""
    return f"{name}{doing}: {type(error).__name__}: {said}{own_place(error)}{known}"


if __name__ == "__main__":
    answer(respond, sys.argv[1:])
