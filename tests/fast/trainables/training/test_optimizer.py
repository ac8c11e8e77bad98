"""The optimisers of a training: the ones that were asked for, resumed to the bit, and a user's own by name."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.training_samples import Regression, Tied, bits, build, differing, tables, tokens, training, worker
from trainables.config.optimizers import (
    Adafactor,
    Adam,
    AdamW,
    CustomOptimizer,
    Lamb,
    Lion,
    Muon,
    Optimizer,
    RmsProp,
    Sgd,
)
from trainables.tasks.base import Task
from trainables.training import lion_and_lamb
from trainables.training.loop import train
from trainables.training.named_function import NamedFunctionError
from trainables.training.optimizer import build_optimizer
from trainables.training.parameter_groups import ParameterGroupsError, every_parameter, rate_groups


@pytest.mark.parametrize(
    ("config", "kind", "settings"),
    [
        (Sgd(momentum=0.5, nesterov=True, weight_decay=0.1), torch.optim.SGD, {"momentum": 0.5, "nesterov": True}),
        (Adam(beta1=0.8, epsilon=1e-4), torch.optim.Adam, {"betas": (0.8, 0.999), "eps": 1e-4}),
        (AdamW(beta2=0.95), torch.optim.AdamW, {"betas": (0.9, 0.95), "weight_decay": 0.01}),
        (RmsProp(beta2=0.9, centered=True), torch.optim.RMSprop, {"alpha": 0.9, "centered": True, "momentum": 0.0}),
        (Adafactor(beta2_decay=-0.7, clip_threshold=2), torch.optim.Adafactor, {"beta2_decay": -0.7, "d": 2.0}),
        (Lion(beta2=0.98, weight_decay=0.3), lion_and_lamb.Lion, {"betas": (0.9, 0.98), "weight_decay": 0.3}),
        (Lamb(epsilon=1e-5), lion_and_lamb.Lamb, {"betas": (0.9, 0.999), "eps": 1e-5, "weight_decay": 0.01}),
        (CustomOptimizer(factory="torch.optim:NAdam", arguments={"eps": 1e-3}), torch.optim.NAdam, {"eps": 1e-3}),
    ],
)
def test_the_optimiser_is_the_one_that_was_asked_for(config, kind, settings):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    optimizer = build_optimizer(config, model, 0.3)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert len(group["params"]) == 2, "what is not trained is left out"
    assert group["lr"] == 0.3
    assert {name: group[name] for name in settings} == settings


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="no parameter to train"):
        build_optimizer(Sgd(), nn.Linear(1, 1).requires_grad_(False), 0.1)


@pytest.mark.parametrize(
    "config",
    [
        *(RmsProp(momentum=0.5, centered=True), Adafactor(), Lion(), Lamb(), Muon()),
        CustomOptimizer(factory="torch.optim:Adagrad", arguments={"weight_decay": 0.1}),
    ],
    ids=lambda config: config.name,
)
def test_every_optimiser_learns_and_is_resumed_to_the_bit(tmp_path: Any, config: Optimizer) -> None:
    class Deep(Regression):
        def build_model(self, width: float = 1.0) -> nn.Module:
            return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))

    def running(model: nn.Module, folder: str) -> Any:
        settings = training(steps=24, evaluations=3, learning_rate=0.01, optimizer=config)
        return train(model, Deep(), tables(), settings, worker(tmp_path / folder), checkpoint="trials/x/c.pt")

    whole = build(Deep())
    reports = list(running(whole, "whole"))
    assert reports[-1].metrics["train_loss"] < reports[0].metrics["train_loss"]
    for start, _ in enumerate(reports):
        other = build(Deep(), seed=start)
        part = running(other, "parts")
        next(part)
        part.close()
    assert differing(bits(whole), bits(other)) == []


class TiedTask(Task):
    def build_model(self, width: float = 1.0) -> nn.Module:
        return Tied()

    def losses(self, outputs: Any, batch: Any) -> Any:
        return outputs


def test_muon_moves_hidden_matrices_as_torchs_does_and_adamw_all_else() -> None:
    def stepped(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
        for seed in range(3):
            torch.manual_seed(seed)
            model.zero_grad()
            model(*tokens(2)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
        return bits(model)

    together, apart = (build(TiedTask()) for _ in range(2))
    optimizer = build_optimizer(Muon(weight_decay=0.2), together, 0.05)
    hidden = [apart.expand.weight, apart.contract.weight]
    rest = [parameter for parameter in apart.parameters() if all(parameter is not one for one in hidden)]
    muon = torch.optim.Muon(hidden, 0.05, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    both = [muon, torch.optim.AdamW(rest, 0.05, weight_decay=0.2, fused=True)]
    assert differing(stepped(together, [optimizer]), stepped(apart, both)) == []


def test_muon_keeps_the_factors_of_groups_in_both_parts() -> None:
    model = build(TiedTask())
    optimizer = build_optimizer(Muon(), model, 0.1, rate_groups(model, TiedTask(), no_decay=["bias"], layer_decay=0.5))
    seen = [(group["rate_factor"], group["weight_decay"], len(group["params"])) for group in optimizer.param_groups]
    matrices, rest = [(0.25, 0.1, 1), (0.5, 0.1, 1)], [(0.125, 0.1, 1), (0.25, 0.0, 1), (0.5, 0.0, 1)]
    assert seen == matrices + rest


def test_muon_without_a_hidden_matrix_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(ParameterGroupsError, match="matrices of hidden layers, and this model has none"):
        build_optimizer(Muon(), model, 0.1)


def no_optimizer(groups: Any, lr: float) -> str:
    return "nothing"


def forgetful(groups: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([parameter for group in groups for parameter in group["params"]], lr=lr)


@pytest.mark.parametrize(
    ("factory", "arguments", "words"),
    [
        ("torch.optim:Nadam", {}, "torch.optim has no function or class 'Nadam'"),
        ("no_such_module:make", {}, "importing no_such_module failed: ModuleNotFoundError"),
        ("torch.optim:NAdam", {"epsilon": 1e-3}, r"cannot be made with {'epsilon': 0.001}: TypeError: .*'epsilon'"),
        ("own:no_optimizer", {}, "gives str, which is no torch.optim.Optimizer"),
        ("own:forgetful", {}, "must keep the groups that it is given"),
    ],
)
def test_a_factory_that_gives_no_optimiser_is_told(
    monkeypatch: pytest.MonkeyPatch, factory: str, arguments: dict[str, Any], words: str
) -> None:
    own = types.ModuleType("own")
    own.__dict__.update(no_optimizer=no_optimizer, forgetful=forgetful)
    monkeypatch.setitem(sys.modules, "own", own)
    with pytest.raises(NamedFunctionError, match=words):
        build_optimizer(CustomOptimizer(factory=factory, arguments=arguments), nn.Linear(1, 1), 0.1)


def test_a_factory_gets_the_decay_of_each_group_where_it_is_given_one() -> None:
    model = nn.Linear(2, 2)
    groups = rate_groups(model, Regression(), no_decay=["bias"])
    config = CustomOptimizer(factory="torch.optim:NAdam", arguments={"weight_decay": 0.1})
    assert [group["weight_decay"] for group in build_optimizer(config, model, 0.1, groups).param_groups] == [0.1, 0.0]
    bare = CustomOptimizer(factory="torch.optim:NAdam")
    (group,) = build_optimizer(bare, model, 0.1, every_parameter(model)).param_groups
    assert group["weight_decay"] == torch.optim.NAdam([torch.zeros(1)]).defaults["weight_decay"]
