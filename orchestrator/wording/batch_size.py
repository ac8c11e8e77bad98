"""Sentences about the batch size: the verdict, the predictions, the critical batch size, the caveats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.analysis.batch_verdict import AS_FAST, BatchVerdict, Slower
from orchestrator.analysis.critical_batch import CriticalBatch
from orchestrator.analysis.equal_budget import Behind, Finding
from orchestrator.analysis.predict_batch import Prediction, unresolved
from orchestrator.analysis.settings_choices import SettingsChoice
from orchestrator.analysis.statistics import Verdict
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import ToTarget
from orchestrator.sweep.labels import settings_words
from orchestrator.wording.format import (
    enumeration,
    number,
    one_seed_words,
    paired_words,
    plural,
    signed,
    target_words,
    with_interval,
)
from orchestrator.wording.not_determined import basis_of_prediction, why_no_curve, why_no_verdict


def batch_size_headline(table: SweepTable, verdict: BatchVerdict) -> str:
    """The verdict in one line."""
    fastest = verdict.fastest
    if fastest is None:
        return f"The batch size is not determined: {why_no_verdict(table, verdict.undetermined)}"
    target = target_words(table.plan.objective)
    names = enumeration(sorted({_name(verdict, c) for c in verdict.not_slower}, key=lambda name: (len(name), name)))
    if verdict.no_difference:
        return f"No detectable difference in time to {target} between {names}"
    if not verdict.others:
        return f"{names.capitalize()} is the only batch size that reached {target} with every fresh seed"
    if len(verdict.not_slower) > 1:
        return f"Fastest to {target}, with no detectable difference: {names}"
    return f"{names.capitalize()} is fastest to {target}"


def verdict_sentences(table: SweepTable, verdict: BatchVerdict) -> list[str]:
    """The figures behind the headline."""
    return [*_confirmed(verdict), *_predicted(verdict), *doubts(verdict.fit.rows)]


def _confirmed(verdict: BatchVerdict) -> Iterator[str]:
    fastest, cheapest, smallest = verdict.fastest, verdict.cheapest, verdict.smallest
    if fastest is not None and cheapest is not None and smallest is not None:
        training = fastest.configuration.training
        yield (
            f"Fastest: {_name(verdict, fastest)} with learning rate {training.learning_rate:.4g}, "
            f"{training.precision}, "
            f"micro-batch {training.micro_batch_size} x {training.accumulation_steps} x {training.num_workers}: "
            f"{'at most ' if fastest.is_bound else ''}{_seconds(fastest)} s, "
            f"mean over {plural(len(fastest.crossings), 'fresh seed')}."
        )
        if cheapest is fastest:
            yield "It is also the cheapest on average, in worker-seconds."
        else:
            cost = cheapest.seconds.mean * cheapest.num_workers
            own = fastest.seconds.mean * fastest.num_workers
            most = "at most " if fastest.is_bound else ""
            yield (
                f"Cheapest on average: {_name(verdict, cheapest)}, {number(cost)} worker-seconds; the fastest takes "
                f"{most}{number(own)}."
            )
        if smallest is fastest:
            yield (
                "No smaller confirmed batch size is as fast: not detectably slower, and with a mean at most "
                f"{100 * (AS_FAST - 1):.0f} % longer."
            )
        else:
            yield (
                f"Smallest batch that is as fast: {_name(verdict, smallest)} (not detectably slower, and with a mean "
                f"at most {100 * (AS_FAST - 1):.0f} % longer)."
            )
    for other in verdict.others:
        yield f"{_name(verdict, other.contender).capitalize()}: {slower_words(other)}."
    for contender in verdict.contenders:
        if not contender.is_whole:
            rows = contender.configuration.rows
            yield (
                f"{_name(verdict, contender).capitalize()}: {len(contender.crossings)} of {len(rows)} seeds reached "
                "the target, so it is not compared."
            )


def slower_words(other: Slower) -> str:
    """`1.21 times the seconds of the fastest (1.08 to 1.35, paired over 4 seeds): slower`."""
    if other.difference is None:
        return "not determined (no seed in common)"
    words = {Verdict.WORSE: "slower", Verdict.BETTER: "faster"}.get(other.verdict, str(other.verdict))
    least = "at least " if other.is_at_least else ""
    if other.interval is None:
        return f"{least}{number(other.ratio)} times the seconds of the fastest: {words}"
    low, high = other.interval
    pairs = f"{paired_words(other.difference)}, after Holm p = {other.difference.p_value:.2g}"
    return (
        f"{least}{number(other.ratio)} times the seconds of the fastest ({number(low)} to {number(high)}, {pairs}): "
        f"{words}"
    )


def _predicted(verdict: BatchVerdict) -> Iterator[str]:
    if verdict.fit.prediction is not None:
        yield f"The fit predicts {prediction_words(verdict.fit.prediction)}."
    estimate = verdict.noise_scale
    if estimate is None:
        yield "The noise scale was not measured."
    elif unresolved(estimate):
        yield f"The noise scale is unresolved: {(estimate.note or '').removeprefix('unresolved').lstrip(': ')}."
    else:
        known = estimate.low is not None and estimate.high is not None
        interval = f" ({number(estimate.low or 0.0)} to {number(estimate.high or 0.0)})" if known else ""
        prior = f"; it predicts {prediction_words(verdict.prior)}" if verdict.prior else ""
        yield f"Noise scale of the short run: {number(estimate.value)} examples{interval}{prior}."


def prediction_words(prediction: Prediction) -> str:
    """`batch 141 (95 to 210), from ...`."""
    known = prediction.low is not None and prediction.high is not None
    interval = f" ({number(prediction.low or 0.0)} to {number(prediction.high or 0.0)})" if known else ""
    return f"batch {number(prediction.batch_size)}{interval}, from {basis_of_prediction(prediction.basis)}"


def curve_words(curve: CriticalBatch) -> str:
    """The critical batch with its interval, or why it is not determined."""
    if curve.undetermined is not None or curve.batch_size is None or curve.min_steps is None:
        return f"Critical batch size: not determined ({why_no_curve(curve.undetermined)})."
    low, high = curve.batch_size_low, curve.batch_size_high
    between = f", 90 % interval {number(low)} to {number(high)}" if low is not None and high is not None else ""
    form = (
        f"{number(curve.min_steps)} (1 + {number(curve.batch_size)}/B)"
        if curve.sharpness == 1.0
        else f"{number(curve.min_steps)} (1 + ({number(curve.batch_size)}/B)^{curve.sharpness:.2g})"
        f"^(1/{curve.sharpness:.2g})"
    )
    return (
        f"Critical batch size: {number(curve.batch_size)}{between} (steps = {form}); beyond it, larger batches save "
        "few steps."
    )


def doubts(rows: Sequence[ToTarget]) -> list[str]:
    """The caveats about the figures of these batch sizes."""
    sentences = []
    if bounds := [str(row.batch_size) for row in rows if row.is_bound]:
        sentences.append(
            f"At batch size {enumeration(bounds)} the first evaluation had reached the target already, so the steps "
            "are an upper bound. The fit of the critical batch size leaves it out; more `evaluations` would help."
        )
    sentences.extend(
        f"At batch size {row.batch_size}, {len(row.crossings)} of {plural(row.seeds, 'seed')} reached the target. The "
        "fit of the critical batch size leaves it out, as a mean over these seeds would be too low."
        for row in rows
        if not row.is_whole
    )
    if len(rows) > 1 and all(len(row.rates) == 1 for row in rows):
        sentences.append(
            "Only one learning rate was tried at each batch size. With tuned learning rates, the steps and the "
            "critical batch size may differ."
        )
    sentences.extend(
        f"The fewest steps at batch size {row.batch_size} are at learning rate "
        f"{row.configuration.training.learning_rate:.4g}, the {row.edge} tried: a better one may lie beyond."
        for row in rows
        if row.edge
    )
    return sentences


def behind_words(table: SweepTable, found: Behind) -> str:
    """`Batch 256 against 16: ... (val_accuracy -0.05 and train_accuracy -0.06 after 7,168 examples)`.

    With other settings in the sweep: `Batch 256 against 16, group: ...`, `Batch 16, group against batch: ...`.
    """
    metric = table.plan.objective.metric.removeprefix("best_")
    parts = []
    if found.validation is not None:
        parts.append(f"{metric} {signed(metric, found.validation.mean)}")
    if found.training is not None:
        parts.append(f"{metric.replace('val_', 'train_', 1)} {signed(metric, found.training.mean)}")
    if found.gap is not None and found.gap.low is not None and found.gap.high is not None:
        low, high = signed(metric, found.gap.low), signed(metric, found.gap.high)
        parts.append(f"the gap between them {signed(metric, found.gap.mean)} ({low} to {high})")
    figures = [f"{enumeration(parts)} after {found.examples:,} examples"] if parts else []
    if found.at_equal_steps is not None and found.steps is not None:
        figures.append(f"{metric} {signed(metric, found.at_equal_steps.mean)} after {found.steps:,} steps")
    if found.validation is not None and found.validation.spread is not None:
        figures.append(paired_words(found.validation))
    shown = f" ({'; '.join(figures)})" if figures else ""
    return f"{_compared(table, found)}: {finding_words(found)}{shown}."


def finding_words(found: Behind) -> str:
    """The finding from the differences, as part of a sentence."""
    more = "by more" if found.more_on_validation else "not detectably by more"
    too = f"worse on training data too, and {more} on validation data"
    doubt = "" if found.in_phase else ", but the learning-rate schedules are at different phases there"
    match found.finding:
        case Finding.NO_COMMON_SEED:
            return "not determined (no seed in common)"
        case Finding.ONE_SEED:
            return one_seed_words(found.validation) if found.validation else "not determined (one seed)"
        case Finding.NO_DIFFERENCE:
            return "no detectable difference at equal examples"
        case Finding.OVERFITS:
            return "overfits: worse on validation data, by more than on training data"
        case Finding.WORSE_ON_VALIDATION:
            return "worse on validation data; not determined whether it overfits"
        case Finding.WORSE_ON_BOTH:
            return too
        case Finding.NO_COMMON_STEPS:
            return f"{too}; the two have no number of steps in common"
        case Finding.FEWER_STEPS:
            return f"trained for fewer steps: {too}; not detectably worse after equal steps{doubt}"
        case Finding.WORSE_STEPS:
            return f"{too}; also worse after equal steps{doubt or ', so fewer steps do not explain it'}"


def _compared(table: SweepTable, found: Behind) -> str:
    own, best = (settings_words(c.config, table.settings) for c in (found.configuration, found.against))
    if found.batch_size == found.best:
        return f"Batch {found.batch_size}, {own} against {best}"
    if own == best:
        return f"Batch {found.batch_size} against {found.best}{f', {own}' if own else ''}"
    return f"Batch {found.batch_size}, {own} against {found.best}, {best}"


def choice_words(table: SweepTable, choice: SettingsChoice) -> str:
    """`group`, `adamw weight_decay=0.1 at batch size 16`; empty where nothing else is varied."""
    words = settings_words(choice.example, table.settings)
    return words if choice.batch_size is None else f"{words} at batch size {choice.batch_size}"


def _name(verdict: BatchVerdict, contender: ToTarget) -> str:
    several = len({c.num_workers for c in verdict.contenders}) > 1
    workers = f" on {plural(contender.num_workers, 'worker')}" if several else ""
    return f"batch {contender.batch_size}{workers}"


def _seconds(contender: ToTarget) -> str:
    return with_interval(contender.seconds.mean, contender.seconds.half_width)
