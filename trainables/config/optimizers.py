"""The optimisers of a training, each with its settings. Imports no torch; they are built in `training.optimizer`.

What is known of carrying a learning rate to another batch size is told of each in `orchestrator.planning.evidence`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from trainables.config.base import FrozenConfig

Argument = bool | int | float | str
NAMED_FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"  # `module:name`


class Sgd(FrozenConfig):
    name: Literal["sgd"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _nesterov_looks_ahead_along_the_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(FrozenConfig):
    name: Literal["adam"] = "adam"
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: PositiveFloat = 1e-8
    weight_decay: float = Field(0.0, ge=0)


class AdamW(FrozenConfig):
    name: Literal["adamw"] = "adamw"
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: PositiveFloat = 1e-8
    weight_decay: float = Field(0.01, ge=0)


class RmsProp(FrozenConfig):
    """torch.optim.RMSprop."""

    name: Literal["rmsprop"] = "rmsprop"
    beta2: float = Field(0.99, ge=0, lt=1)  # of the mean of squared gradients; torch calls it alpha
    epsilon: PositiveFloat = 1e-8
    momentum: float = Field(0.0, ge=0, lt=1)
    centered: bool = False  # divides by the standard deviation, not by the root of the mean square
    weight_decay: float = Field(0.0, ge=0)


class Adafactor(FrozenConfig):
    """torch.optim.Adafactor: it keeps a row and a column of every matrix, and no momentum.

    A step is min(learning rate, 1 / sqrt(step)) times the size of the weights it moves (Shazeer & Stern 2018,
    arXiv 1804.04235), so a learning rate of 0.01 is usual where AdamW takes 0.001.
    """

    name: Literal["adafactor"] = "adafactor"
    beta2_decay: float = Field(-0.8, ge=-1, lt=0)  # beta2 of step t is 1 - t^beta2_decay
    clip_threshold: PositiveFloat = 1.0  # on the root mean square of an update
    weight_decay: float = Field(0.0, ge=0)


class Lion(FrozenConfig):
    """The sign of a momentum (Chen et al. 2023, arXiv 2302.06675).

    Its learning rate is 3 to 10 times smaller than AdamW's, and its weight decay as many times larger.
    """

    name: Literal["lion"] = "lion"
    beta1: float = Field(0.9, ge=0, lt=1)  # of the momentum that a step takes the sign of
    beta2: float = Field(0.99, ge=0, lt=1)  # of the momentum that is kept
    weight_decay: float = Field(0.0, ge=0)


class Lamb(FrozenConfig):
    """Adam's step, scaled to the size of the weights of each tensor (You et al. 2019, arXiv 1904.00962)."""

    name: Literal["lamb"] = "lamb"
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: PositiveFloat = 1e-6
    weight_decay: float = Field(0.01, ge=0)


class Muon(FrozenConfig):
    """torch.optim.Muon for the matrices of hidden layers, AdamW for everything else.

    Everything else are vectors, kernels of convolutions, embeddings and the last layer. Updates of matrices are scaled
    to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982), so one learning rate and one weight decay serve both.
    """

    name: Literal["muon"] = "muon"
    momentum: float = Field(0.95, ge=0, lt=1)
    nesterov: bool = True
    beta1: float = Field(0.9, ge=0, lt=1)  # of AdamW
    beta2: float = Field(0.999, ge=0, lt=1)  # of AdamW
    epsilon: PositiveFloat = 1e-8  # of AdamW
    weight_decay: float = Field(0.1, ge=0)  # of both


class CustomOptimizer(FrozenConfig):
    """`factory(groups, lr=..., **arguments)` gives a torch.optim.Optimizer; `groups` is a list of torch's mappings.

    Any class of `torch.optim` is such a factory: `torch.optim:NAdam`. Its module's code is part of a trial's identity.
    """

    name: Literal["custom"] = "custom"
    factory: str = Field(pattern=NAMED_FUNCTION)  # `module:factory`
    arguments: dict[str, Argument] = Field({})  # keyword arguments, such as `{weight_decay: 0.1}`

    def __hash__(self) -> int:  # a dict has none
        return hash(self.model_dump_json())


Optimizer = Annotated[
    Sgd | Adam | AdamW | RmsProp | Adafactor | Lion | Lamb | Muon | CustomOptimizer, Field(discriminator="name")
]


def weight_decay_of(optimizer: Optimizer) -> float:
    return float(optimizer.arguments.get("weight_decay", 0.0) if optimizer.name == "custom" else optimizer.weight_decay)
