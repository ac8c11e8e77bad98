"""The whole comparison of a sweep, in one value: the table, the goals, the Pareto fronts, the recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from orchestrator.analysis.batch_verdict import BatchVerdict
from orchestrator.analysis.critical_batch import CriticalBatch
from orchestrator.analysis.equal_budget import Behind, behind
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.goals import GoalResult, judge, judged
from orchestrator.analysis.plan_file import Stored
from orchestrator.analysis.recommend import Recommendation, goals_for, recommend
from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.settings_choices import SettingsChoice
from orchestrator.analysis.table import SweepTable, load_table
from orchestrator.analysis.time_to_target import ToTarget
from orchestrator.machine.garbage import uncollected
from trainables.estimate import Estimate
from trainables.seal import DamagedFileError
from trainables.storage import Storage, sweep_file


class TestReading(Stored):
    """The recommended trial's figures on the test data: sweeps/<name>/test_reading.json."""

    __test__ = False  # pytest collects classes with this prefix, but this is not a test

    trial: str
    metrics: dict[str, Estimate]  # test_<m>
    readings: int = 1  # how often this sweep has read the test data, for this trial and earlier recommended ones


@dataclass(frozen=True)
class SweepComparison:
    evidence: Evidence
    goals: dict[str, tuple[GoalResult, ...]]  # configuration key -> one result per goal that applies to it
    recommendation: Recommendation
    test: TestReading | None = None
    behind: tuple[Behind, ...] = ()  # batch sizes and settings compared with the best comparable one

    @property
    def table(self) -> SweepTable:
        return self.evidence.table

    @property
    def front(self) -> frozenset[str]:
        """Keys of the variants on the Pareto front of objective, size and both latencies."""
        return self.evidence.front

    @property
    def training_front(self) -> frozenset[str]:
        """Keys of the baselines on the Pareto front of objective and seconds of training."""
        return self.evidence.training_front

    @property
    def targets(self) -> tuple[ToTarget, ...]:
        """The training effort to the target at each batch size."""
        return self.evidence.targets

    @property
    def curves(self) -> Mapping[SettingsChoice, CriticalBatch]:
        """The critical batch size of each choice of settings."""
        return self.evidence.curves

    @property
    def batch(self) -> BatchVerdict | None:
        """The verdict of `batch_size: auto`; None for other sweeps."""
        return self.evidence.batch

    @property
    def test_of_recommended(self) -> TestReading | None:
        """The test figures, if they are those of the trial that is recommended now."""
        row = self.recommendation.row
        return self.test if self.test is not None and row is not None and self.test.trial == row.id else None

    @property
    def pareto(self) -> list[str]:
        """Trial ids on the Pareto front of the variants, or of the baselines if there are no variants."""
        keys = self.front or (self.training_front if not self.table.variants else frozenset())
        return [row.id for c in self.table.configurations if c.key in keys for row in c.measured]


def compare(table: SweepTable, test: TestReading | None = None) -> SweepComparison:
    evidence = Evidence(judged(table))
    table = evidence.table
    goals = {c.key: judge(table, c, goals_for(table, [c])) for c in (table.variants or table.baselines)}
    return SweepComparison(evidence, goals, recommend(evidence), test, tuple(behind(evidence)))


def load_comparison(storage: Storage, sweep: str) -> SweepComparison:
    """Read a sweep and compare its trials. Raises TableError if there is no such sweep."""
    with uncollected():
        return compare(load_table(storage, sweep), load_test_reading(storage, sweep))


def save_test_reading(storage: Storage, sweep: str, reading: TestReading) -> None:
    storage.write_sealed(sweep_file(sweep, "test_reading.json"), reading.model_dump_json(indent=1).encode())


def load_test_reading(storage: Storage, sweep: str) -> TestReading | None:
    try:
        return TestReading.model_validate_json(storage.read_sealed(sweep_file(sweep, "test_reading.json")))
    except (FileNotFoundError, ValidationError, DamagedFileError):
        return None  # a damaged file counts as missing: the log has all readings, and `run` writes the file again


def configuration_of(table: SweepTable, trial: str) -> Configuration | None:
    return next((c for c in table.configurations if any(row.id == trial for row in c.rows)), None)
