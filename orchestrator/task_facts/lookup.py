"""Finds out about a task without importing it: metrics, training rows, fingerprints of all it reads and of its code.

A built-in task is known from the catalogue. A user's `package.module:Class` is found as a file on the search path and
parsed; what its source does not say literally is left to `run`, which imports and makes it before the first trial.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.diagnostics.node import Node
from orchestrator.diagnostics.problem import closest_name
from orchestrator.diagnostics.task_needs import Requirements
from orchestrator.machine.taken_names import taken_name
from orchestrator.sweep.spec import Mode, TaskChoice, TaskFacts
from orchestrator.task_facts.code_revision import code_revision, revision_with
from orchestrator.task_facts.dry_run import rehearse
from orchestrator.task_facts.python_source import NOT_LITERAL, FoundClass, SourceError, find_class, find_module
from orchestrator.task_facts.task_inputs import TaskInputs, read_all, read_inputs
from orchestrator.task_facts.user_code import named_code, user_code
from orchestrator.text import listing
from trainables.config.trial import Scalar
from trainables.data import builtin
from trainables.data.sources import SPLITS, DataError, absolute_source, is_source
from trainables.redact import has_secret, looks_secret
from trainables.tasks.catalog import BUILTIN, Builtin
from trainables.tasks.load import wrong_files

NOT_READ = "not read: known only after importing the task"


def look_up(
    node: Node,
    task: TaskChoice,
    folder: Path,
    requirements: Requirements,
    *,
    import_task: bool = False,
) -> TaskFacts | None:
    """The known facts about a task; None if there are none: the reasons are noted at `node`, the value of `task`.

    Wrong options and data that cannot be read are noted too, and hide nothing that is known in spite of them.
    `folder` is the sweep file's: a user's module is looked for there first, then in the current folder, then wherever
    Python looks. With `import_task` the task is also imported and made with every combination of its options, and a
    user's task is taken at its own word and tried on a few rows: all that the sweep's `requirements` ask of it.
    """
    name = node.child("name") if isinstance(node.value, dict) else node
    if _has_secrets(node, task):
        return None
    if ":" in task.name:
        facts = _user_facts(node, name, task.name, _search_path(folder))
    elif task.name in BUILTIN:
        facts = _builtin_facts(node, BUILTIN[task.name])
    else:
        name.fail("is not a built-in task", allowed=f"{listing(BUILTIN)}, or package.module:Class", close_to=BUILTIN)
        return None
    if facts is not None and requirements.modules:
        facts = _with_code_of(requirements.modules, facts, folder)
    if facts is None or not import_task or node.has_problems():
        return facts
    return _imported_facts(name, task, facts, requirements)


def _with_code_of(modules: Sequence[str], facts: TaskFacts, folder: Path) -> TaskFacts:
    """The facts with the code of functions that settings name; workers find them as they find a task."""
    search_path = facts.search_path or _search_path(folder)
    code = revision_with(facts.code, [named_code(module, search_path, sys.path) for module in modules])
    return facts.model_copy(update={"search_path": search_path, "code": code})


def _search_path(folder: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys((str(folder.absolute()), str(Path.cwd()))))


def _has_secrets(node: Node, task: TaskChoice) -> bool:
    """Whether an option holds a secret, which has been noted without it."""
    given = {key: [options[key] for options in task.combinations()] for key in task.options}
    found = [
        key
        for key, values in given.items()
        if any(isinstance(value, str) and (looks_secret(key, value) or has_secret(value)) for value in values)
    ]
    for key in found:
        holder = re.sub("_env$", "", key, flags=re.IGNORECASE)
        Node(None, (*node.path, "options", key), node.findings).fail(
            "looks like a secret, and options are written down: in every result, in MLflow and in logs",
            allowed=f"the name of an environment variable that holds it on every worker, such as {holder}_env: "
            f"{holder.upper()}, for the task to read from os.environ; or another name, if it is no secret",
        )
    return bool(found)


def _builtin_facts(node: Node, builtin: Builtin) -> TaskFacts | None:
    for option in _options(node):
        _check_option(option, builtin)
    try:
        data = builtin.fingerprint()
    except DataError as error:
        node.fail(str(error))
        return None
    return TaskFacts(
        metrics={"loss": "min", **builtin.metrics}, train_rows=builtin.train_rows(), data=(data,), code=code_revision()
    )


def _options(node: Node) -> Iterator[Node]:
    """The valid values of every option; invalid ones have been noted."""
    for key in _option_names(node):
        option = node.child("options", key)
        values = option.value.get("values") if isinstance(option.value, dict) else None
        places = [("values", index) for index in range(len(values))] if isinstance(values, list) else [()]
        yield from (one for at in places if isinstance((one := option.child(*at)).value, Scalar))


def _option_names(node: Node) -> list[str]:
    """As the file has them, whether their values are right or not."""
    options = node.value.get("options") if isinstance(node.value, dict) else None
    return list(options) if isinstance(options, dict) else []


def _check_option(option: Node, builtin: Builtin) -> None:
    key, value, defaults = str(option.path[2]), option.value, builtin.options
    if key not in defaults:
        option.fail("unknown option", allowed=listing(defaults) or "no options", near=closest_name(key, defaults))
        return
    wanted = type(defaults[key])
    if not (type(value) is wanted or (wanted is float and type(value) is int)):
        option.fail("has the wrong type", allowed=f"{wanted.__name__}, by default {defaults[key]!r}")
    elif key in builtin.choices and value not in builtin.choices[key]:
        option.fail("is not one of the choices", allowed=listing(builtin.choices[key]), close_to=builtin.choices[key])
    elif not isinstance(value, bool | str) and value <= 0:
        option.fail("must be greater than 0", allowed=f"{wanted.__name__}, by default {defaults[key]!r}")


# -- a user's own task ------------------------------------------------------------------------------------------------


def _user_facts(node: Node, name: Node, task: str, search_path: tuple[str, ...]) -> TaskFacts | None:
    if taken := taken_name(search_path):
        name.fail(taken)
        return None
    module_name, _, class_name = task.partition(":")
    folders = [*search_path, *(entry or "." for entry in sys.path)]
    try:
        file = find_module(module_name, folders)
        found = find_class(file, class_name) if file else None
    except SourceError as error:
        name.fail(str(error), allowed=error.allowed, near=error.nearest)
        return None
    code = code_revision(user_code(module_name, search_path, sys.path))
    unknown = TaskFacts(
        metrics={}, train_rows=None, data=(NOT_READ,), code=code, search_path=search_path, complete=False
    )
    if file is None or found is None:
        return unknown
    _check_options(node, found)
    if not _class_is_whole(name, class_name, found):
        return None
    return _literal_facts(name, class_name, found, file.parent, unknown)


def _class_is_whole(name: Node, class_name: str, found: FoundClass) -> bool:
    """Whether the class is a task with everything it needs, as far as its source tells."""
    if found.open_ended:
        return True
    lacks = [method for method in ("build_model", "losses") if method not in found.methods]
    if found.attributes.get("metrics") and "scores" not in found.methods:
        lacks.append("scores")  # it gives what `metrics` names
    lacks += [split for split in SPLITS if split not in found.methods | found.attributes.keys()]
    if not found.is_task:
        name.fail(f"{class_name} does not derive from paretune.Task")
    if lacks:
        name.fail(f"{class_name} does not define {', '.join(lacks)}", allowed="see trainables/tasks/base.py")
    return found.is_task and not lacks


def _check_options(node: Node, found: FoundClass) -> None:
    """The options are arguments of the constructor, and none that it needs is missing."""
    if found.open_ended:
        return
    init = found.init or ast.arguments([], [ast.arg("self")], None, [], [], None, [])
    positional = [argument.arg for argument in (*init.posonlyargs, *init.args)][1:]
    needed = positional[: len(positional) - len(init.defaults)] if init.defaults else positional
    needed += [arg.arg for arg, default in zip(init.kwonlyargs, init.kw_defaults, strict=True) if default is None]
    names = [*positional, *(argument.arg for argument in init.kwonlyargs)]
    given = _option_names(node)
    for key in given:
        if key not in names and init.kwarg is None:
            allowed = listing(names) or "no options: the class has no __init__ that takes any"
            node.child("options", key).fail("unknown option", allowed=allowed, near=closest_name(key, names))
    if missing := [key for key in needed if key not in given]:
        node.fail(f"needs the option{'s' if len(missing) > 1 else ''} {', '.join(missing)}", allowed=listing(names))


def _literal_facts(
    name: Node, class_name: str, found: FoundClass, folder: Path, unknown: TaskFacts
) -> TaskFacts | None:
    """The facts that the class states as literals; computed ones stay unknown."""
    default: Any = NOT_LITERAL if found.open_ended or "metrics" in found.methods else {}
    metrics = found.attributes.get("metrics", default)
    sources = {split: found.attributes.get(split, NOT_LITERAL) for split in SPLITS}
    if metrics is not NOT_LITERAL:
        if not _metrics_fit(name, class_name, metrics):
            return None
        unknown = unknown.model_copy(update={"metrics": {"loss": "min", **metrics}})
    if any(source is NOT_LITERAL for source in sources.values()):
        return unknown
    if wrong := [split for split, source in sources.items() if not is_source(source)]:
        what = "a path, a URI, or a list of these"
        name.fail(f"{class_name}.{wrong[0]} must be {what}, not {sources[wrong[0]]!r}")
        return unknown
    files: Any = NOT_LITERAL if "files" in found.methods else found.attributes.get("files", ())
    if files is not NOT_LITERAL and (problem := wrong_files(files)):
        name.fail(f"{class_name}.{problem}")
        return unknown
    told = () if files is NOT_LITERAL else tuple(absolute_source(file, folder) for file in files)
    read = read_inputs(
        name, class_name, TaskInputs({at: absolute_source(one, folder) for at, one in sources.items()}, told)
    )
    if read is None:
        return unknown
    notes = _notes_on_data(name, class_name, found, {at: absolute_source(one, folder) for at, one in sources.items()})
    if files is NOT_LITERAL:
        return unknown.model_copy(update={"train_rows": read[1], "notes": notes})
    complete = metrics is not NOT_LITERAL and not found.open_ended
    return unknown.model_copy(update={"data": read[:1], "train_rows": read[1], "complete": complete, "notes": notes})


def _metrics_fit(name: Node, class_name: str, metrics: Any) -> bool:
    if not isinstance(metrics, dict) or not all(isinstance(key, str) for key in metrics):
        name.fail(f"{class_name}.metrics must be a dict of names, not {metrics!r}", allowed='{"accuracy": "max"}')
        return False
    wrong = [f"{key}: {mode!r}" for key, mode in metrics.items() if mode not in ("min", "max")]
    if wrong:
        name.fail(f"{class_name}.metrics has {', '.join(wrong)}", allowed="'min' or 'max'")
    if "loss" in metrics:
        name.fail(f"{class_name}.metrics must not hold 'loss'; it exists already, from losses()")
    return not wrong and "loss" not in metrics


def _imported_facts(name: Node, task: TaskChoice, facts: TaskFacts, requirements: Requirements) -> TaskFacts | None:
    """The facts as the task states them, made with every combination of its options. Brings in torch.

    Where an option chooses the data, each combination has the fingerprint of its own.
    """
    from trainables.tasks.load import TaskError, load_task
    from trainables.tasks.task_data import files_of, sources_of

    inputs: dict[str, TaskInputs] = {}  # by the task's name in messages, which tells its swept options
    metrics: dict[str, dict[str, Mode]] = {}
    for options in task.combinations():
        try:
            made = load_task(task.name, options, facts.search_path)
        except TaskError as error:
            name.fail(str(error))
            continue
        swept = ", ".join(f"{key}={options[key]!r}" for key in sorted(task.swept))
        label = f"{type(made).__name__}({swept})" if swept else type(made).__name__
        inputs[label] = TaskInputs(sources_of(made), files_of(made))
        metrics[label] = {"loss": "min", **made.metrics}
    if len(inputs) < len(task.combinations()):
        return None
    if task.name in BUILTIN:  # the catalogue has said the rest
        return _with_variants_tried(name, task, facts, requirements, list(inputs))
    first = next(iter(metrics))
    if others := [label for label in metrics if metrics[label] != metrics[first]]:
        name.fail(f"{others[0]} has other metrics than {first}: {metrics[others[0]]} and not {metrics[first]}")
        return None
    read = read_all(name, inputs)
    if read is None:
        return None
    update = {"metrics": metrics[first], "data": read[0], "train_rows": read[1], "complete": True}
    return _rehearsed(name, task, facts.model_copy(update=update), requirements, list(inputs))


def _notes_on_data(name: Node, class_name: str, found: FoundClass, sources: Mapping[str, str]) -> tuple[str, ...]:
    """Notes on how the columns are read. Built-in data, read as it is, costs a plan no import of numpy and pyarrow."""
    is_built_in = all(source.startswith(builtin.SCHEME) for source in sources.values())
    if is_built_in and not isinstance(found.attributes.get("columns"), Mapping):
        return ()
    from orchestrator.task_facts.data_check import check_data

    return check_data(name, class_name, found, sources)


def _with_variants_tried(
    name: Node, task: TaskChoice, facts: TaskFacts, requirements: Requirements, labels: Sequence[str]
) -> TaskFacts | None:
    """A built-in task is known to train, and as it comes to bear each method as it comes (tests/contract)."""
    variants = requirements.chains and not (requirements.is_usual and not task.options and not task.swept)
    if not (variants or requirements.needs_the_model):
        return facts
    return _rehearsed(name, task, facts, requirements, labels)


def _rehearsed(
    name: Node, task: TaskChoice, facts: TaskFacts, requirements: Requirements, labels: Sequence[str]
) -> TaskFacts | None:
    """The facts, and what a dry run has noted; None if it has found something wrong, which is told."""
    rehearsed = rehearse(task.name, task.combinations(), facts.search_path, requirements)
    if not _tell(name, task, dict(zip(labels, rehearsed.problems, strict=True))):
        return None
    return facts.model_copy(update={"notes": (*facts.notes, *rehearsed.notes)})


def _tell(name: Node, task: TaskChoice, found: Mapping[str, Sequence[str]]) -> bool:
    """Note what is wrong, by the names of the task's combinations in messages; whether nothing is."""
    first: dict[str, str] = {}  # by what is wrong: most combinations have the same mistake
    for label, problems in found.items():
        for problem in problems:
            first.setdefault(problem, label)
    for problem, label in first.items():
        name.fail(f"{label}: {problem}" if task.swept else problem)
    return not first
