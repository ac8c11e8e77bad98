"""What a lost group means for its trial: a decision that can be looked at, before anything is done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.running.failures import MAX_RESTARTS, MAX_RETRIES, Attempts, Divide, Retry, decide_after_failure
from trainables.results import Status
from trainables.worker.messages import Cause, EndedTrial, GroupFailure, Paused, WorkerFailure

TRIAL = "this"
DIED = "The actor died unexpectedly before finishing this task. worker exit type: SYSTEM_ERROR"


def failure(cause: Cause, rank: int = 0, trial: str | None = TRIAL) -> WorkerFailure:
    return WorkerFailure(rank=rank, trial=trial, cause=cause, error=f"Error: {cause}", traceback=f"Traceback: {cause}")


def told(*failures: WorkerFailure) -> GroupFailure:
    """A loss in which every worker that was seen to fail had told why."""
    return GroupFailure(failures=failures, observed=tuple((one.rank, "as told") for one in failures))


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        ("exception", Status.FAILED),
        ("stalled", Status.FAILED),
        ("device", Status.FAILED),
        ("out_of_memory", Status.OUT_OF_MEMORY),
    ],
)
def test_what_the_trial_itself_raised_ends_it_at_once(cause: Cause, status: Status) -> None:
    decision = decide_after_failure(TRIAL, told(failure(cause, rank=1)), retries=0)
    assert decision == EndedTrial(status=status, reason=f"Error: {cause} (on worker 1)", details=f"Traceback: {cause}")


def test_what_the_storage_is_to_blame_for_ends_no_trial_and_costs_no_retry() -> None:
    decision = decide_after_failure(TRIAL, told(failure("storage"), failure("peer", rank=1)), retries=MAX_RETRIES)
    assert decision == Paused(reason="Error: storage")


def test_memory_that_ran_out_where_smaller_pieces_are_left_costs_no_retry() -> None:
    decision = decide_after_failure(
        TRIAL, told(failure("peer", rank=0), failure("too_large", rank=1)), retries=MAX_RETRIES
    )
    assert decision == Retry("Error: too_large (on worker 1)", counts=False)


@pytest.mark.parametrize("cause", ["exception", "out_of_memory"])
def test_a_peers_error_is_a_consequence_and_hides_no_cause(cause: Cause) -> None:
    decision = decide_after_failure(TRIAL, told(failure("peer", rank=0), failure(cause, rank=1)), retries=0)
    assert isinstance(decision, EndedTrial)
    assert decision.reason == f"Error: {cause} (on worker 1)"


def test_a_worker_that_died_without_a_word_is_retried_and_in_the_end_given_up() -> None:
    loss = GroupFailure(failures=(failure("peer", rank=0),), observed=((0, "as told"), (1, DIED)))
    for retries in range(MAX_RETRIES):
        assert decide_after_failure(TRIAL, loss, retries) == Retry("worker 1 died", counts=True)
    decision = decide_after_failure(TRIAL, loss, MAX_RETRIES)
    assert isinstance(decision, EndedTrial)
    assert decision.status is Status.FAILED
    assert DIED in decision.details


def test_a_node_that_was_lost_costs_its_trial_no_retry() -> None:
    text = "The actor died because its node has died. Node Id: 4f, the actor's node was terminated unexpectedly"
    loss = GroupFailure(failures=(failure("peer", rank=0),), observed=((1, text),))
    assert decide_after_failure(TRIAL, loss, MAX_RETRIES) == Retry("the node of worker 1 was lost", counts=False)


def test_what_peers_say_of_a_death_they_did_not_recognise_does_not_end_the_trial() -> None:
    loss = GroupFailure(failures=(failure("exception", rank=0),), observed=((0, "as told"), (1, DIED)))
    assert isinstance(decide_after_failure(TRIAL, loss, retries=0), Retry)


def test_a_worker_killed_for_its_nodes_memory_goes_on_with_smaller_pieces_if_there_are_any() -> None:
    loss = GroupFailure(observed=((1, f"{DIED} ... due to the node running low on memory"),))
    decision = decide_after_failure(TRIAL, loss, retries=MAX_RETRIES)
    assert isinstance(decision, Divide)
    assert decision.otherwise.status is Status.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "loss", [GroupFailure(), told(failure("exception", trial="another")), told(failure("device", trial=None))]
)
def test_a_loss_that_is_not_the_trials_costs_it_no_retry(loss: GroupFailure) -> None:
    decision = decide_after_failure(TRIAL, loss, retries=MAX_RETRIES)
    assert isinstance(decision, Retry)
    assert not decision.counts


def test_a_group_that_cannot_be_had_ends_the_trial_after_the_retries() -> None:
    gone = GroupFailure(lost="the workers could not be started")
    assert decide_after_failure(TRIAL, gone, 0) == Retry("the workers could not be started", counts=True)
    assert decide_after_failure(TRIAL, gone, MAX_RETRIES) == EndedTrial(
        status=Status.FAILED, reason=gone.lost or "", details=gone.lost or ""
    )


causes = st.sampled_from(["exception", "out_of_memory", "too_large", "device", "peer", "stalled"])
failures = st.lists(
    st.builds(failure, causes, st.integers(0, 3), st.sampled_from([TRIAL, "another", None])), max_size=4
).map(tuple)
observed = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([DIED, "low on memory", ""])), max_size=4).map(tuple)
losses = st.builds(GroupFailure, failures=failures, observed=observed, lost=st.none() | st.just("gone"))


@given(losses, st.integers(0, 5))
def test_no_trial_is_retried_for_ever_on_its_own_account(loss: GroupFailure, retries: int) -> None:
    decision = decide_after_failure(TRIAL, loss, retries)
    if isinstance(decision, Retry) and decision.counts:
        assert retries < MAX_RETRIES
    if isinstance(decision, EndedTrial):
        assert decision.status in (Status.FAILED, Status.OUT_OF_MEMORY)
        assert decision.reason


def attempts(*, has_smaller: bool = False) -> Attempts:
    return Attempts(TRIAL, lambda: Retry("with a smaller micro-batch", counts=False) if has_smaller else None)


DEATH = GroupFailure(observed=((0, DIED),))
KILLED = GroupFailure(observed=((0, "low on memory"),))


def test_attempts_are_counted_until_the_trial_is_given_up() -> None:
    trial = attempts()
    assert [type(trial.after(DEATH)) for _ in range(MAX_RETRIES + 1)] == [Retry] * MAX_RETRIES + [EndedTrial]


def test_a_lost_node_is_not_held_against_the_trial() -> None:
    trial = attempts()
    for _ in range(3 * MAX_RETRIES):
        assert isinstance(trial.after(DEATH), Retry)
        trial.node_was_lost()


@pytest.mark.parametrize("has_smaller", [True, False])
def test_a_worker_killed_for_its_memory_ends_the_trial_only_where_no_smaller_micro_batch_is_left(
    has_smaller: bool,
) -> None:
    decision = attempts(has_smaller=has_smaller).after(KILLED)
    if has_smaller:
        assert decision == Retry("with a smaller micro-batch", counts=False)
    else:
        assert isinstance(decision, EndedTrial)
        assert decision.status is Status.OUT_OF_MEMORY


def test_a_trial_that_is_restarted_without_end_fails() -> None:
    trial, another = attempts(), told(failure("exception", trial="another"))
    decisions = [trial.after(another) for _ in range(MAX_RESTARTS + 1)]
    assert all(isinstance(decision, Retry) for decision in decisions[:-1])
    last = decisions[-1]
    assert isinstance(last, EndedTrial)
    assert (last.status, last.reason.split(":")[0]) == (Status.FAILED, "restarted without end")
