"""Files that must be refused: each with the path of the key, its value, and what is allowed or close to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.diagnostics.problem import SweepError
from tests.support.sweep_text import load_text, sweep_text


@dataclass(frozen=True)
class Bad:
    """A file, and for each problem in it: its path, and words that must stand in its line."""

    what: str
    text: str | bytes
    problems: dict[str, tuple[str, ...]]


def changed(what: str, path: str, *words: str, **sections: str | None) -> Bad:
    """The good file with changed sections, and the one problem that this makes."""
    return Bad(what, sweep_text(**sections), {path: words})


def parameters(what: str, path: str, *words: str, **axes: str) -> Bad:
    """The good file with changed parameters."""
    merged = {"batch_size": "{values: [16, 32]}", "learning_rate": "0.1", **axes}
    text = "{" + ", ".join(f"{key}: {value}" for key, value in merged.items()) + "}"
    return changed(what, path and f"parameters.{path}", *words, parameters=text)


def goal(what: str, key: str, *words: str, **fields: str) -> Bad:
    """The good file with one other goal."""
    merged = {"metric": "val_accuracy", "type": "max-degradation", "value": "0.01", **fields}
    text = "[{" + ", ".join(f"{name}: {value}" for name, value in merged.items()) + "}]"
    return changed(what, f"goals[0].{key}", *words, goals=text)


def variants(what: str, path: str, *words: str, chain: str) -> Bad:
    return changed(what, f"compression.variants{path}", *words, compression="{variants: [" + chain + "]}")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

AUTO = "{batch_size: auto, learning_rate: {base: 0.1, at_batch_size: 32, rule: linear}}"

FILES = [
    Bad("empty", "", {"": ("empty", "mapping", "name")}),
    Bad("only a comment", "# nothing\n", {"": ("empty",)}),
    Bad("a list", "- name: x\n", {"": ("must be a mapping", "name", "parameters")}),
    Bad("a number", "42\n", {"": ("must be a mapping",)}),
    Bad("plain text", "hello\n", {"": ("must be a mapping",)}),
    Bad("two documents", f"{sweep_text()}---\n{sweep_text()}", {"": ("more than one YAML document",)}),
    Bad("not UTF-8", b"name: caf\xe9\n", {"": ("UTF-8", "0xe9", "line 1")}),
    Bad("UTF-16", sweep_text().encode("utf-16"), {"": ("UTF-8",)}),
    Bad("binary", b"\x00\x01\x02", {"": ("not YAML",)}),
    Bad("a tab", "name: x\n\ttask: y\n", {"": ("not YAML", "has a tab in column 1", "spaces", "line 2")}),
    Bad("a tab after spaces", "name:\n  - x\n \t- y\n", {"": ("has a tab in column 2", "line 3")}),
    Bad("a control character", "name: é\ntask: \x07\n", {"": ("not YAML", "U+0007", "line 2")}),
    Bad(
        "a no-break space",
        sweep_text().replace("budget: ", "budget:\u00a0"),
        {"": ("a no-break space (U+00A0) in column 8", "line 4", "replace it by a space", "quotes")},
    ),
    Bad(
        "no-break spaces that indent",
        "name: x\nbudget:\n\u00a0 examples: 16\n",
        {"": ("a no-break space (U+00A0) in column 1", "line 3")},
    ),
    Bad(
        "a number that may be octal",
        sweep_text(evaluations="016"),
        {"evaluations": ("016", "so it is text and not a whole number", "octal, 14; write 16", "line 8")},
    ),
    Bad("a number that begins with a zero", sweep_text(evaluations="'08'"), {"evaluations": ("number; write 8",)}),
    Bad("an open bracket", "name: [a, b\n", {"": ("not YAML", "']'")}),
    Bad("larger than a megabyte", b"# " + b"x" * (1 << 20), {"": ("larger than 1048576 bytes",)}),
    Bad("aliases that explode", LAUGHS, {"e[4]": ("aliases", "50000")}),
    Bad("an alias of itself", "name: &a [*a]\n", {"name[0]": ("*a", "contains itself")}),
    Bad("an unknown alias", sweep_text(name="*nowhere"), {"name": ("*nowhere", "does not exist")}),
    Bad("nested without end", "name: " + "[" * 500 + "]" * 500, {"name[0][0][0]": ("deeper than 24",)}),
    Bad("a Python object", sweep_text(name="!!python/name:os.system x"), {"name": ("tag", "python/name")}),
    Bad(
        "a number that is none hides nothing else",
        sweep_text(objective="{metric: val_acuracy, target: .nan}", budget="{examples: -.inf}", evaluation="3"),
        {
            "objective.target": (".nan", "not a finite number"),
            "objective.metric": ("val_acuracy", "'val_accuracy'"),
            "budget.examples": ("-.inf", "not a finite number"),
            "evaluation": ("unknown key", "'evaluations'"),
        },
    ),
    Bad("a duplicate key", sweep_text() + "name: again\n", {"name": ("line 1", "line 8")}),
    Bad(
        "duplicate keys below",
        sweep_text(budget="{examples: 10, examples: 20}", measure="{threads: 1, threads: 2}"),
        {"budget.examples": ("twice", "line 4"), "measure.threads": ("twice", "line 8")},
    ),
    changed("not a number", "budget.examples", ".nan", "finite", budget="{examples: .nan}"),
    changed("infinite", "budget.examples", "1e999", "finite", budget="{examples: 1e999}"),
    # names and sections
    changed("no name", "name", "is missing", "digits", name=None),
    changed("no task", "task", "is missing", "package.module:Class", task=None),
    changed("no objective", "objective", "is missing", "val_loss", objective=None),
    changed("no budget", "budget", "is missing", "examples", budget=None),
    changed("no parameters", "parameters", "is missing", "batch_size", parameters=None),
    changed("a misspelt section", "objetive", "unknown key", "'objective'", objetive="{metric: val_loss}"),
    changed("an unknown section", "colour", "blue", "unknown key", "allowed: name, task", colour="blue"),
    changed("an odd key", "['a b.c']", "unknown key", **{"'a b.c'": "1"}),
    changed("a name that is no folder", "name", "../x", "letters, digits", name="../x"),
    changed("a name that is a number", "name", "2024", "must be text", name="2024"),
    changed("a name of 65 letters", "name", "up to 64", name="x" * 65),
    # the task
    changed("a misspelt task", "task", "digit_cnn", "diabetes_mlp", "'digits_cnn'", task="digit_cnn"),
    changed("a task that is a list", "task", "mapping", "name, options", task="[digits_cnn]"),
    changed("an empty task", "task", "text", task="''"),
    changed("an unknown option", "task.options.chanels", "'channels'",
            task="{name: digits_cnn, options: {chanels: 8}}"),
    changed("an option of the wrong type", "task.options.channels", "many", "int", "32",
            task="{name: digits_cnn, options: {channels: many}}"),
    changed("a negative option", "task.options.channels", "-8", "greater than 0",
            task="{name: digits_cnn, options: {channels: -8}}"),
    changed("a swept option with a wrong value", "task.options.norm.values[1]", "instance", "ghost, sync",
            task="{name: digits_cnn, options: {norm: {values: [group, instance]}}}"),
    changed("a swept option with a duplicate", "task.options.norm.values[1]", "duplicate",
            task="{name: digits_cnn, options: {norm: {values: [group, group]}}}"),
    changed("options that are a list", "task.options", "mapping", task="{name: digits_cnn, options: [8]}"),
    changed("a nested option", "task.options.channels", "one value",
            task="{name: digits_cnn, options: {channels: [8]}}"),
    changed("a module that is not there", "task", "no module 'nowhere'", "PYTHONPATH", task="'nowhere:Task'"),
    changed("a module's name that is none", "task", "not the name of a module", task="'a-b/c:Task'"),
    changed("a class that is not there", "task", "no class 'Digitscnn'", "'DigitsCnn'",
            task="'trainables.tasks.images:Digitscnn'"),
    changed("a function for a class", "task", "no class 'scaled'", task="'trainables.tasks.layers:scaled'"),
    # objective
    changed("a misspelt objective", "objective.metric", "val_acuracy", "'val_accuracy'", "best_val_loss",
            objective="{metric: val_acuracy}", compression=None, goals=None),
    changed("an objective on training data", "objective.metric", "train_loss", "validation", "val_loss",
            objective="{metric: train_loss}"),
    changed("the wrong direction", "objective.mode", "min", "higher val_accuracy is better", "allowed: max",
            objective="{metric: val_accuracy, mode: min}"),
    changed("a direction of another kind", "objective.mode", "maximum", "min, max",
            objective="{metric: val_accuracy, mode: maximum}"),
    changed("a target that is text", "objective.target", "high", "must be a number",
            objective="{metric: val_accuracy, target: high}"),
    changed("a target of more digits than a number has", "objective.target", "not a finite number",
            objective=f"{{metric: val_accuracy, target: {'9' * 350}}}"),
    changed("a target that is never read", "objective.target", "val_accuracy",
            objective="{metric: best_val_accuracy, target: 0.9}", compression=None, goals=None),
    changed("an objective that int8 does not have", "objective.metric", "int8 are not trained", "allowed: val_accuracy",
            objective="{metric: best_val_accuracy, target: 0.9}"),
    changed("an objective that nobody has", "objective.metric", "not a metric", "allowed: val_loss, val_accuracy",
            objective="{metric: best_val_recall}"),
    changed("an objective without metric", "objective.metric", "is missing", "val_loss", objective="{mode: max}"),
    # budget
    changed("two budgets", "budget", "2 keys", "epochs", budget="{examples: 10, steps: 10}"),
    changed("an empty budget", "budget", "is empty", "examples", budget="{}"),
    changed("a misspelt budget", "budget.example", "'examples'", "seconds", budget="{example: 10}"),
    changed("a budget of nothing", "budget.steps", "0", "whole numbers from 1", budget="{steps: 0}"),
    changed("half a step", "budget.steps", "2.5", "whole number", budget="{steps: 2.5}"),
    changed("a negative budget", "budget.seconds", "-5", "above 0", budget="{seconds: -5}"),
    changed("an absurd budget", "budget.epochs", "1e+06", budget="{epochs: 1e9}"),
    changed("a budget that is a number", "budget", "1000", "mapping", "examples, steps, epochs, seconds",
            budget="1000"),
    changed("no step in the budget", "budget.examples", "20", "never finishes", "batch_size 32",
            budget="{examples: 20}"),
    changed("no step in the epochs", "budget.epochs", "0.02", "never finishes", "32", budget="{epochs: 0.02}"),
    changed("no step for a method", "compression.variants[1]", "0.5 of the budget", "batch_size 32",
            budget="{examples: 60}"),
    # parameters
    changed("no batch size", "parameters.batch_size", "is missing", "values", parameters="{learning_rate: 0.1}"),
    parameters("a misspelt parameter", "num_worker", "'num_workers'", "batch_size", num_worker="2"),
    parameters("batch size zero", "batch_size", "0", "whole numbers from 1 to 1048576", batch_size="0"),
    parameters("a negative batch size", "batch_size.values[1]", "-8", "from 1", batch_size="{values: [8, -8]}"),
    parameters("an absurd batch size", "batch_size", "1000000000", "1048576", batch_size="1000000000"),
    parameters("half a row", "batch_size", "2.5", "whole number", batch_size="2.5"),
    parameters("a batch size in quotes", "batch_size", "64", "without quotes", batch_size="'64'"),
    parameters("a batch size that is true", "batch_size", "True", "whole number", batch_size="true"),
    parameters("no batch size at all", "batch_size", "whole number", batch_size="null"),
    parameters("an empty list", "batch_size.values", "empty list", batch_size="{values: []}"),
    parameters("a list without values", "batch_size", "[16, 32]", "{values: [...]}", batch_size="[16, 32]"),
    parameters("a list of lists", "batch_size.values[0]", "whole number", batch_size="{values: [[16]]}"),
    parameters("duplicates", "batch_size.values[2]", "32", "duplicate", "values[1]",
               batch_size="{values: [16, 32, 32]}"),
    parameters("duplicates that look different", "learning_rate.values[1]", "duplicate",
               learning_rate="{values: [0.1, 1e-1]}"),
    changed("auto without a target", "objective.target", "is missing", "that reaches a target fastest",
            budget="{examples: 30000}", parameters=AUTO),
    changed("auto with rates as they are", "parameters.batch_size", "not known in advance", "at_batch_size",
            objective="{metric: val_loss, target: 0.2}", budget="{examples: 30000}",
            parameters="{batch_size: auto, learning_rate: 0.1}"),
    changed("auto with too little budget", "parameters.batch_size", "only 8 to 24", "too few to fit a curve",
            objective="{metric: val_loss, target: 0.2}", parameters=AUTO),
    changed("auto with a budget in seconds", "budget", "does not limit the examples", "epochs or steps",
            objective="{metric: val_loss, target: 0.2}", budget="{seconds: 60}", parameters=AUTO),
    changed("auto with several optimizers", "parameters.optimizer", "several values", "one value",
            objective="{metric: val_loss, target: 0.2}", budget="{examples: 30000}",
            parameters=f"{AUTO[:-1]}, optimizer: {{values: [sgd, adam]}}}}"),
    changed("auto with a batch that grows", "parameters.batch_schedule", "looks for a constant size", "fixed",
            budget="{examples: 40000}", objective="{metric: val_loss, target: 0.2}",
            parameters=AUTO.replace("}}", "}, batch_schedule: grow_at}")),
    changed("weight decay carried over seconds", "parameters.learning_rate.carry[0]", "number of examples",
            "examples, epochs or steps", budget="{seconds: 60}",
            parameters="{batch_size: 8, optimizer: adamw, learning_rate: "
            "{base: 0.1, at_batch_size: 8, rule: sqrt, carry: [weight_decay]}}"),
    changed("auto with several seeds", "parameters.seed", "several values", "confirm_seeds",
            objective="{metric: val_loss, target: 0.2}", budget="{examples: 30000}",
            parameters=f"{AUTO[:-1]}, seed: {{values: [0, 1]}}}}"),
    changed("auto beyond the data", "parameters.batch_size.auto", "exceeds the training data", "1151",
            objective="{metric: val_loss, target: 0.2}", budget="{examples: 300000}",
            parameters=AUTO.replace("auto", "{auto: {largest: 2048}}")),
    changed("auto with sizes that the budget never fills", "budget.examples", "never finishes a step of batch_size 512",
            "at least 512 examples", objective="{metric: val_loss, target: 0.2}", budget="{examples: 400}",
            parameters=AUTO.replace("auto", "{auto: {smallest: 8, largest: 512}}")),
    changed("auto with too few steps for its short run", "budget.steps", "the short run", "0.25 of the budget",
            "examples", objective="{metric: val_loss, target: 0.2}", budget="{steps: 3}", parameters=AUTO),
    changed("an unknown key of auto", "parameters.batch_size.auto.bigest", "unknown key", "largest",
            objective="{metric: val_loss, target: 0.2}", budget="{examples: 30000}",
            parameters=AUTO.replace("auto", "{auto: {bigest: 64}}")),
    parameters("an unequal share", "batch_size.values[1]", "20", "num_workers 8", "16 or 24",
               batch_size="{values: [16, 20]}", num_workers="{values: [1, 8]}"),
    parameters("fewer rows than workers", "batch_size", "3", "num_workers 4", "such as 4",
               batch_size="3", num_workers="4"),
    changed("more than the data", "parameters.batch_size", "1152", "1151 rows", budget="{steps: 9}",
            parameters="{batch_size: 1152, learning_rate: 0.1}"),
    parameters("a rate of zero", "learning_rate", "0", "above 0", learning_rate="0"),
    parameters("a rate that is a word", "learning_rate", "fast", "number", learning_rate="fast"),
    parameters("an unknown rule", "learning_rate.rule", "linar", "sqrt", "'linear'",
               learning_rate="{base: 0.1, at_batch_size: 32, rule: linar}"),
    parameters("a rule without its batch size", "learning_rate.at_batch_size", "missing", "whole numbers",
               learning_rate="{base: 0.1, rule: sqrt}"),
    parameters("a rule without its base", "learning_rate.base", "missing",
               learning_rate="{at_batch_size: 32, rule: sqrt}"),
    parameters("a misspelt key of the rate", "learning_rate.multiplier", "'multipliers'",
               learning_rate="{base: 0.1, rule: none, multiplier: [1]}"),
    parameters("no multipliers", "learning_rate.multipliers", "at least 1",
               learning_rate="{base: 0.1, rule: none, multipliers: []}"),
    parameters("the same multiplier twice", "learning_rate.multipliers[1]", "duplicate",
               learning_rate="{base: 0.1, rule: none, multipliers: [1, 1.0]}"),
    parameters("a rate that the rule blows up", "learning_rate.base", "320000", "batch_size 32", "up to 10000",
               learning_rate="{base: 1e4, at_batch_size: 1, rule: linear}", batch_size="32"),
    parameters("an unknown optimiser", "optimizer", "AdamW", "sgd, adam, adamw", "'adamw'", optimizer="AdamW"),
    parameters("an optimiser without a name", "optimizer", "name", "sgd", optimizer="{momentum: 0.9}"),
    parameters("an option of another optimiser", "optimizer.momentum", "unknown key", "beta1",
               optimizer="{name: adam, momentum: 0.9}"),
    parameters("Nesterov's momentum without momentum", "optimizer", "nesterov needs a momentum above 0",
               optimizer="{name: sgd, momentum: 0, nesterov: true}"),
    parameters("a momentum of one", "optimizer.values[1].momentum", "1", "below 1",
               optimizer="{values: [sgd, {name: sgd, momentum: 1}]}"),
    parameters("an unknown schedule", "schedule", "cosine", "constant, warmup_cosine", schedule="cosine"),
    parameters("an unknown precision", "precision.values[1]", "fp16", "bfloat16",
               precision="{values: [float32, fp16]}"),
    parameters("an unknown order of rows", "data_order", "sort", "stored, sorted, shuffled", data_order="sort"),
    parameters("an order with an unknown key", "data_order.by", "unknown key", "column",
               data_order="{name: sorted, by: label}"),
    parameters("fractions that go back", "batch_schedule", "fractions must ascend",
               batch_schedule="{name: grow_at, fractions: [0.5, 0.25]}"),
    parameters("a fraction that is a percentage", "batch_schedule.fractions[0]", "50", "below 1",
               batch_schedule="{name: grow_at, fractions: [50]}"),
    parameters("examples that go back", "batch_schedule", "examples must ascend",
               batch_schedule="{name: grow_at, examples: [500, 200]}"),
    parameters("no examples", "batch_schedule", "be 1 to 16", batch_schedule="{name: grow_at, examples: []}"),
    parameters("examples that are a fraction", "batch_schedule.examples[0]", "0.5", "whole number",
               batch_schedule="{name: grow_at, examples: [0.5]}"),
    parameters("no example", "batch_schedule.examples[0]", "0", "above 0",
               batch_schedule="{name: grow_at, examples: [0]}"),
    parameters("growth at fractions and at examples", "batch_schedule", "either fractions or examples",
               batch_schedule="{name: grow_at, fractions: [0.5], examples: [500]}"),
    parameters("growth at the end of the budget", "batch_schedule.values[1].examples[1]", "1000", "from 1 to 999",
               batch_schedule="{values: [fixed, {name: grow_at, examples: [999, 1000]}]}"),
    changed("growth after the last epoch", "parameters.batch_schedule.examples[0]", "3000", "from 1 to 2301",
            budget="{epochs: 2}",
            parameters="{batch_size: 16, learning_rate: 0.1, batch_schedule: {name: grow_at, examples: [3000]}}"),
    parameters("a batch that shrinks", "batch_schedule.factor", "0.5", "whole number",
               batch_schedule="{name: grow_at, factor: 0.5}"),
    changed("a batch that grows with a budget that has no examples", "parameters.batch_schedule",
            "the budget is in seconds", "a budget in examples or epochs", budget="{seconds: 5}",
            parameters="{batch_size: 16, learning_rate: 0.1, batch_schedule: grow_at}"),
    changed("growth with what is not measured", "parameters.batch_schedule", "noise_scale: false",
            noise_scale="false", parameters="{batch_size: 16, learning_rate: 0.1, batch_schedule: grow_with_noise}"),
    parameters("meetings of nobody", "sync_every_steps", "8", "num_workers of at least 2", sync_every_steps="8"),
    parameters("a meeting at no step", "sync_every_steps.values[1]", "0", "whole numbers from 1",
               num_workers="2", sync_every_steps="{values: [null, 0]}"),
    changed("a noise scale that is a number", "noise_scale", "32", "mapping", "every_steps", noise_scale="32"),
    parameters("an unknown way to share rows", "sharding", "strip", "'stripe'", sharding="strip"),
    parameters("a negative seed", "seed.values[0]", "-1", "from 0", seed="{values: [-1, 1]}"),
    parameters("workers without number", "num_workers", "two", "whole number", num_workers="two"),
    parameters("absurdly many workers", "num_workers", "5000", "4096", num_workers="5000"),
    parameters("a clipping norm of zero", "gradient_clip_norm", "0", "above 0", gradient_clip_norm="0"),
    parameters("micro-batches of nothing", "micro_batch_size", "0", "from 1", micro_batch_size="0"),
    changed("more trials than anyone means", "parameters", "trials in all", "at most 100000",
            parameters=f"{{batch_size: 8, learning_rate: 0.1, seed: {{values: {list(range(999))}}}, "
                       f"gradient_clip_norm: {{values: {list(range(1, 200))}}}}}"),
    # the rest
    changed("no evaluation", "evaluations", "0", "from 1", evaluations="0"),
    changed("early stopping without a key", "early_stopping", "mapping", "grace_fraction", early_stopping="true"),
    changed("early stopping from the end", "early_stopping.grace_fraction", "1", "below 1",
            early_stopping="{grace_fraction: 1}"),
    changed("early stopping by a figure that is not read", "early_stopping", "best_val_loss", "val_",
            early_stopping="{grace_fraction: 0.2}", objective="{metric: best_val_loss}", compression=None, goals=None),
    changed("early stopping by the clock", "early_stopping", "seconds", "examples",
            early_stopping="{grace_fraction: 0.2}", budget="{seconds: 5}"),
    changed("early stopping at the end", "early_stopping", "evaluations of at least 2",
            early_stopping="{grace_fraction: 0.2}", evaluations="1"),
    changed("unknown parents", "compression.parents", "best", "best_per_batch_size, all, or {top: 2}",
            compression="{parents: best, variants: [int8]}"),
    changed("more parents than there are", "compression.parents.top", "3", "at most 2",
            compression="{parents: {top: 3}, variants: [int8]}"),
    changed("no variants", "compression.variants", "empty list", compression="{variants: []}"),
    changed("unknown seeds", "compression.seeds", "some", "first, all", compression="{seeds: some}"),
    variants("a misspelt method", "[0]", "int4", "fine_tune, int8, prune, distill", "'int8'", chain="int4"),
    variants("a misspelt method with settings", "[0].prun", "'prune'", chain="{prun: {ratio: 0.5}}"),
    variants("a ratio of one", "[0].prune.ratio", "1", "below 1", chain="{prune: {ratio: 1}}"),
    variants("a misspelt setting", "[0].distill.widht", "'width'", chain="{distill: {widht: 0.5}}"),
    variants("a misspelt setting further down", "[0].prune.fine_tune.budget_fracton", "'budget_fraction'",
             chain="{prune: {fine_tune: {budget_fracton: 0.5}}}"),
    variants("two methods in one mapping", "[0]", "one method", chain="{prune: {ratio: 0.5}, distill: {width: 0.5}}"),
    variants("the same variant twice", "[1]", "duplicate", "variants[0]", chain="{prune: {ratio: 0.5}}, prune"),
    variants("an empty chain", "[0]", "empty list", chain="[]"),
    variants("integers that are trained", "[0][0]", "int8", "last", chain="[int8, prune]"),
    variants("a student that forgets", "[0][1]", "distill", "after prune", chain="[prune, distill]"),
    variants("the parent itself", "[0]", "uncompressed", "anyway; leave it out", chain="uncompressed"),
    changed("no threads", "measure.threads", "0", "above 0", measure="{threads: 0}"),
    changed("an absurd number of threads", "measure.threads", "99999", "at most 1024", measure="{threads: 99999}"),
    changed("one batch to measure", "measure.batch_sizes[1]", "missing", measure="{batch_sizes: [1]}"),
    changed("one batch to measure, twice", "measure.batch_sizes", "[8, 8]", "different",
            measure="{batch_sizes: [8, 8]}"),
    changed("an unknown device", "measure.device", "gpu", "auto, cpu, cuda", measure="{device: gpu}"),
    changed("8-bit integers on a GPU", "measure.device", "cuda", "cannot run int8", "cpu or auto",
            measure="{device: cuda}"),
    changed("a label with spaces", "resources.node_labels.zone", "a b", "letters and digits",
            resources="{node_labels: {zone: a b}}"),
    changed("a label that is a number", "resources.node_labels.zone", "1", "must be text",
            resources="{node_labels: {zone: 1}}"),
    changed("two GPUs", "resources.accelerator_type", "A100", "must be text",
            resources="{accelerator_type: [A100, L4]}"),
    changed("none at a time", "resources.max_concurrent_trials", "0", "above 0",
            resources="{max_concurrent_trials: 0}"),
    changed("no patience", "resources.no_progress_minutes", "0", "above 0", resources="{no_progress_minutes: 0}"),
    changed("no processors", "resources.cpus_per_worker", "0", "above 0", resources="{cpus_per_worker: 0}"),
    changed("goals that are no list", "goals", "list", goals="{metric: val_accuracy}"),
    goal("a goal on an unknown metric", "metric", "val_acc", "'val_accuracy'", "artifact_bytes", metric="val_acc"),
    goal("a latency that is not measured", "metric", "latency_p50_ms_batch_32", "measured at batch sizes 1, 64",
         metric="latency_p50_ms_batch_32"),
    *(
        goal(f"a goal on {metric}, which int8 does not have", "metric", metric, "int8 are not trained", "val_accuracy",
             metric=metric, type="threshold", value="10")
        for metric in ("train_seconds", "train_accuracy", "best_train_loss", "best_val_loss", "steps", "examples",
                       "examples_per_second")
    ),
    goal("an unknown goal", "type", "max-degredation", "percent-min-improvement", "'max-degradation'",
         type="max-degredation"),
    goal("a negative degradation", "value", "-0.01", "negative", "from 0", value="-0.01"),
    goal("a file of no bytes", "value", "0", "above 0", metric="artifact_bytes", type="threshold", value="0"),
    goal("a file that vanishes", "value", "100", "below 100", metric="artifact_bytes", type="percent-min-improvement",
         value="100"),
    goal("a fraction for a percentage", "value", "0.001", "percent", metric="artifact_bytes",
         type="percent-min-improvement", value="0.001"),
    goal("a change of a change", "type", "val_accuracy_change", "threshold", metric="val_accuracy_change"),
    changed("the same goal twice", "goals[1]", "duplicate", "max-degradation of val_loss",
            goals="[{metric: val_loss, type: max-degradation, value: 1},"
                  " {metric: val_loss, type: max-degradation, value: 2}]"),
    changed("a comparison with no parent", "goals[0].type", "max-degradation", "threshold", compression=None),
    changed("a latency with nothing exported", "goals[0].metric", "compression", compression=None,
            goals="[{metric: latency_p50_ms_batch_1, type: threshold, value: 5}]"),
]  # fmt: skip


@pytest.mark.parametrize("bad", FILES, ids=[bad.what for bad in FILES])
def test_every_problem_is_named_with_its_place_and_its_way_out(bad: Bad, tmp_path: Path) -> None:
    with pytest.raises(SweepError) as caught:
        load_text(tmp_path, bad.text)
    lines = {problem.path: str(problem) for problem in caught.value.problems}
    assert set(lines) == set(bad.problems), str(caught.value)
    for path, words in bad.problems.items():
        for word in (path, *words):
            assert word in lines[path]


def test_there_are_many_such_files() -> None:
    assert len(FILES) >= 40
    assert len({bad.what for bad in FILES}) == len(FILES)
