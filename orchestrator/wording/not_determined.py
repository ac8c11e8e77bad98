"""Why a batch size, or a critical batch size, is not determined: sentences without their full stop."""

from __future__ import annotations

from orchestrator.analysis.batch_verdict import (
    FirstReadings,
    NeverReached,
    NotEverySeed,
    TooShort,
    TrialsWaiting,
    WhyNoVerdict,
)
from orchestrator.analysis.critical_batch import (
    MAX_RMS_LOG,
    KneeBelow,
    KneeBeyond,
    Scattered,
    TooFewSizes,
    WhyNoCurve,
)
from orchestrator.analysis.predict_batch import FromFit, FromLines, FromNoiseScale, FromProbe, PredictionBasis
from orchestrator.analysis.table import SweepTable
from orchestrator.wording.format import enumeration, number, plural, target_words


def why_no_verdict(table: SweepTable, reason: WhyNoVerdict | None) -> str | None:
    """None if there is a verdict."""
    target = target_words(table.plan.objective)
    match reason:
        case None:
            return None
        case TrialsWaiting(trials):
            return f"{trials} of the trials asked for so far have not ended"
        case NeverReached():
            return f"no trial reached {target}: a larger budget, an easier target or other learning rates are needed"
        case NotEverySeed():
            return f"at no batch size did every fresh seed reach {target}"
        case TooShort(seconds):
            return f"{target} is reached within {number(seconds)} s, too short to compare: a harder target would tell"
        case FirstReadings(sizes):
            return (
                f"at batch size {_sizes(sizes)} the first evaluation had reached {target} already, so the time to "
                "reach it is only bounded: more `evaluations`, or a target that takes longer, would tell"
            )


def why_no_curve(reason: WhyNoCurve | None) -> str | None:
    """None if the critical batch size is determined."""
    match reason:
        case None:
            return None
        case TooFewSizes(known, (), ()):
            return f"{plural(known, 'batch size')} reached the target; three, well spread, are needed"
        case TooFewSizes(known, bounds, partly):
            more = "(more `evaluations` would help)"
            first = f"batch size {_sizes(bounds)} had reached the target at the first evaluation {more}"
            some = f"at batch size {_sizes(partly)} not every seed reached it"
            why = " and ".join(words for words, sizes in ((first, bounds), (some, partly)) if sizes)
            return f"{why}, which leaves {known}; three, well spread, are needed"
        case Scattered(rms):
            most = f"at most {100 * MAX_RMS_LOG:.0f} % can be read"
            return f"the batch sizes scatter by {100 * rms:.0f} % around the curve; {most}"
        case KneeBeyond(largest):
            return f"steps still fall as 1/B at the largest batch size, {largest:g}: the knee lies beyond it"
        case KneeBelow(smallest):
            return f"steps no longer fall at the smallest batch size, {smallest:g}: the knee lies below it"


def basis_of_prediction(basis: PredictionBasis) -> str:
    """The basis of a predicted batch size, or why the prediction is not more exact."""
    match basis:
        case FromNoiseScale():
            return "the noise scale of the short run and the step time of the probe"
        case FromProbe():
            return "the fitted steps and the step times of a probe"
        case FromLines(why):
            return f"straight lines between measured points; critical batch not determined: {why_no_curve(why)}"
        case FromFit(cut):
            words = "the fitted steps and step times; the interval follows from the critical batch's 90 % interval"
    return f"{words}, cut off at the {' and the '.join(cut)} size tried: the optimum may lie beyond" if cut else words


def _sizes(sizes: tuple[int, ...]) -> str:
    return enumeration([str(size) for size in sizes])
