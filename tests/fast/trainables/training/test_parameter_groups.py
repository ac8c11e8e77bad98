"""Which parameters are trained with which learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.training_samples import Regression, Tied, bits, build, differing, tables, training, worker
from trainables.config.optimizers import AdamW, Sgd
from trainables.tasks.parameter_group import ParameterGroup
from trainables.training.loop import train
from trainables.training.optimizer import build_optimizer
from trainables.training.parameter_groups import (
    ParameterGroupsError,
    RateGroup,
    hidden_matrices,
    layer_depths,
    rate_groups,
)

Groups = Callable[[Any], Sequence[Any] | None]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(4), nn.MultiheadAttention(4, 1)
        self.expand = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4))


class Transformer(nn.Module):
    """As libraries write them: embeddings, an encoder that holds its layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.embed = nn.Embedding(9, 4)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList([Block(), Block()])
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)


def grouped(groups: Groups) -> Regression:
    class Own(Regression):
        def parameter_groups(self, model: nn.Module) -> Any:
            return groups(model)

    return Own()


def names(model: nn.Module, groups: Sequence[RateGroup]) -> dict[tuple[float, float], list[str]]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return {(g.rate_factor, g.decay_factor): [known[id(parameter)] for parameter in g.parameters] for g in groups}


def test_without_a_word_all_parameters_are_one_group_in_their_own_order() -> None:
    model = build(Regression())
    (group,) = rate_groups(model, Regression())
    assert all(a is b for a, b in zip(group.parameters, model.parameters(), strict=True))
    assert (group.rate_factor, group.decay_factor) == (1.0, 1.0)


def test_groups_of_a_task_have_their_factors_and_what_is_frozen_is_in_none() -> None:
    task = grouped(
        lambda model: [
            ParameterGroup(model[0].parameters(), is_frozen=True),
            ParameterGroup(model[1].parameters(), weight_decay_factor=0.0),
            ParameterGroup(model[4].parameters(), learning_rate_factor=10.0),
        ]
    )
    model = build(task)
    found = names(model, rate_groups(model, task))
    assert found == {(1.0, 0.0): ["1.weight", "1.bias"], (10.0, 1.0): ["4.weight", "4.bias"]}
    assert [p.requires_grad for p in model.parameters()] == [False] * 2 + [True] * 4


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (
            lambda m: [ParameterGroup(m[0].parameters())],
            "leaves out 1.weight, 1.bias, 4.weight, 4.bias; each",
        ),
        (lambda m: [ParameterGroup(m.parameters()), ParameterGroup([m[0].bias])], "has 0.bias twice"),
        (lambda m: [ParameterGroup(nn.Linear(1, 1).parameters())], "a parameter that is not the model's"),
        (lambda m: [m.parameters()], "must give paretune.ParameterGroup objects, not generator"),
        (lambda m: [ParameterGroup(m.parameters(), learning_rate_factor=0.0)], "learning_rate_factor 0 and"),
        (lambda m: [ParameterGroup(m.parameters(), weight_decay_factor=-1.0)], "weight_decay_factor -1"),
    ],
)
def test_a_parameter_that_is_not_in_exactly_one_group_is_named(groups: Groups, words: str) -> None:
    task = grouped(groups)
    with pytest.raises(ParameterGroupsError, match=rf"Own\.parameter_groups\(\) .*{words}"):
        rate_groups(build(task), task)


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (["bias"], ["in_proj_bias", "out_proj.bias", "0.bias", "1.bias", "norm.bias", "head.bias"]),
        (["norm"], ["norm.weight", "norm.bias"]),
        (["embedding"], ["embed.weight"]),
        (["head"], ["head.weight", "head.bias"]),
        (["encoder.layer.0.*", "token"], ["encoder.layer.0.", "token"]),
    ],
)
def test_no_decay_goes_by_kind_or_by_name(words: list[str], without: list[str]) -> None:
    model = Transformer()
    found = names(model, rate_groups(model, Regression(), no_decay=words))
    assert found[1.0, 0.0]
    assert all(any(part in name for part in without) for name in found[1.0, 0.0])
    assert not any(name.endswith(tuple(without)) for name in found[1.0, 1.0])


def test_a_name_that_no_parameter_has_is_refused_and_a_kind_may_be_absent() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert len(rate_groups(model, Regression(), no_decay=["norm", "embedding"])) == 1
    with pytest.raises(ParameterGroupsError, match="no_decay names 'had', and no parameter is called so"):
        rate_groups(model, Regression(), no_decay=["had"])


def test_layers_are_counted_from_the_last() -> None:
    model = Transformer()
    depths = {name: layer_depths(model)[id(parameter)] for name, parameter in model.named_parameters()}
    by_depth = {depth: {name.split(".")[0] for name in depths if depths[name] == depth} for depth in range(4)}
    assert by_depth == {3: {"token", "embed"}, 2: {"encoder"}, 1: {"encoder", "norm"}, 0: {"head"}}
    assert depths["encoder.layer.0.expand.1.weight"] == 2
    assert depths["encoder.layer.1.expand.1.weight"] == 1
    plain = build(Regression())  # a linear layer with its norm, and another
    assert [layer_depths(plain)[id(parameter)] for parameter in plain.parameters()] == [1, 1, 1, 1, 0, 0]


def test_layer_decay_multiplies_the_factors_of_a_task() -> None:
    task = grouped(lambda model: [ParameterGroup(model.parameters(), learning_rate_factor=2.0)])
    model = build(task)
    found = names(model, rate_groups(model, task, no_decay=["bias"], layer_decay=0.75))
    assert found == {
        (1.5, 1.0): ["0.weight", "1.weight"],
        (1.5, 0.0): ["0.bias", "1.bias"],
        (2.0, 1.0): ["4.weight"],
        (2.0, 0.0): ["4.bias"],
    }


def test_a_group_is_trained_at_the_learning_rate_of_the_trial_times_its_factor(tmp_path: Any) -> None:
    """One step of plain SGD moves the weights by factor x rate x gradient, and by rate x decay where there is one."""
    task = grouped(
        lambda model: [
            ParameterGroup(model[0].parameters(), learning_rate_factor=0.5),
            ParameterGroup(model[1].parameters(), is_frozen=True),
            ParameterGroup(model[4].parameters(), weight_decay_factor=3.0),
        ]
    )
    plain, model = build(Regression()), build(task)
    sgd = {"optimizer": Sgd(momentum=0.0), "steps": 1, "evaluations": 1, "learning_rate": 0.1}
    before = bits(plain)
    (report,) = train(plain, Regression(), tables(), training(**sgd), worker(tmp_path))
    sgd["optimizer"] = Sgd(momentum=0.0, weight_decay=0.2)
    (other,) = train(model, task, tables(), training(**sgd), worker(tmp_path))
    assert report.metrics["learning_rate"] == other.metrics["learning_rate"] == 0.1
    step, moved = bits(plain), bits(model)
    factors = {"0": (0.5, 0.2), "1": (0.0, 0.0), "4": (1.0, 0.6)}
    for name, _ in model.named_parameters():
        rate, decay = factors[name[0]]
        expected = before[name] + rate * (step[name] - before[name]) - rate * 0.1 * decay * before[name]
        torch.testing.assert_close(moved[name], expected)


def test_a_training_in_groups_is_resumed_to_the_bit(tmp_path: Any) -> None:
    def two(model: Any) -> list[ParameterGroup]:
        return [ParameterGroup(model[4].parameters(), 3.0), ParameterGroup(model[:4].parameters())]

    task = grouped(two)
    settings = training(steps=9, evaluations=3, optimizer=AdamW(), no_decay=("bias", "norm"), layer_decay=0.5)
    model = build(task)
    expected = list(train(model, task, tables(), settings, worker(tmp_path / "a"), checkpoint="trials/x/c.pt"))
    for start, _ in enumerate(expected):
        other = build(task, seed=start)
        running = train(other, task, tables(), settings, worker(tmp_path / "b"), checkpoint="trials/x/c.pt")
        next(running)
        running.close()
    assert differing(bits(model), bits(other)) == []


def test_hidden_matrices_are_neither_embeddings_nor_of_the_last_layer() -> None:
    model = Transformer()
    hidden = {name for name, parameter in model.named_parameters() if id(parameter) in hidden_matrices(model)}
    assert {name.split(".")[0] for name in hidden} == {"encoder"}
    assert "encoder.layer.0.mix.in_proj_weight" in hidden
    assert len(hidden) == 8
    tied = Tied()
    assert hidden_matrices(tied) == {id(tied.expand.weight), id(tied.contract.weight)}


def test_nothing_to_train_is_refused() -> None:
    task = grouped(lambda model: [ParameterGroup(model.parameters(), is_frozen=True)])
    model = build(task)
    with pytest.raises(ValueError, match="no parameter to train"):
        build_optimizer(Sgd(), model, 0.1, rate_groups(model, task))
