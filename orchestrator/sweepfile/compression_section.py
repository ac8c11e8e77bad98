"""The section `compression`: which baselines are compressed, and the chains of methods, in their short notation.

int8                                 one method, with its defaults
{prune: {ratio: 0.5}}                one method, with settings
[{prune: {ratio: 0.5}}, int8]        a chain: one after the other
"""

from __future__ import annotations

from typing import Any

from orchestrator.diagnostics.node import Node, Placed, refuse_duplicates
from orchestrator.diagnostics.schema_text import MAX_CHAIN
from orchestrator.sweep.spec import CompressionPlan, TopParents
from orchestrator.text import listing
from trainables.config.base import union_members
from trainables.config.compression import Compression, Distill, Int8, Prune

Chain = tuple[Compression, ...]

PARENTS = ("best_per_batch_size", "all")
SEEDS = ("first", "all")


def read_compression(node: Node) -> CompressionPlan | None:
    """The section `compression`; None if any part is wrong."""
    keys = node.mapping(CompressionPlan.model_fields)
    if keys is None:
        return None
    before = len(node.findings.problems)
    parents: str | TopParents | None = _read_parents(keys["parents"]) if "parents" in keys else PARENTS[0]
    seeds = keys["seeds"].choice(SEEDS) if "seeds" in keys else SEEDS[0]
    chains: list[Placed[Chain]] = []
    for item in (keys["variants"].items() or []) if "variants" in keys else []:
        chain = read_chain(item)
        if chain is not None:
            chains.append(Placed(chain, item))
    refuse_duplicates(chains)
    if len(node.findings.problems) > before or parents is None or seeds is None:
        return None
    variants = [[step.model_dump() for step in chain.value] for chain in chains]
    return CompressionPlan.model_validate({"parents": parents, "seeds": seeds, "variants": variants})


def _read_parents(node: Node) -> str | TopParents | None:
    if isinstance(node.value, dict):
        return node.model(TopParents)
    if isinstance(node.value, str) and node.value in PARENTS:
        return node.value
    node.fail("is not one of the choices", allowed=f"{listing(PARENTS)}, or {{top: 2}}", close_to=PARENTS)
    return None


def read_chain(node: Node) -> Chain | None:
    """One entry of `variants`; None if one of its steps is wrong, or if its steps undo one another."""
    if not isinstance(node.value, list):
        step = _read_step(node)
        return None if step is None else (step,)
    nodes = node.items()
    if nodes is None:
        return None
    if len(nodes) > MAX_CHAIN:
        node.fail(f"is a chain of {len(nodes)} methods", allowed=f"at most {MAX_CHAIN}")
        return None
    steps = [_read_step(item) for item in nodes]
    if any(step is None for step in steps):
        return None
    chain = tuple(step for step in steps if step is not None)
    return chain if _order_is_right(chain, nodes) else None


def _read_step(node: Node) -> Compression | None:
    methods = union_members(Compression, "method")
    if isinstance(node.value, str):
        if node.value == "uncompressed":
            node.fail("is measured for every parent anyway; leave it out", allowed=listing(methods))
            return None
        name = node.choice(methods)
        default: Compression | None = methods[name]() if name else None
        return default
    if not isinstance(node.value, dict) or len(node.value) != 1:
        what = "must be a method, or a mapping with one method, written {prune: {ratio: 0.5}}"
        node.fail(what, allowed=listing(methods))
        return None
    keys = node.mapping(methods)
    for name, settings in (keys or {}).items():
        method: type[Any] = methods[name]
        step: Compression | None = method() if settings.value is None else settings.model(method, without=("method",))
        return step
    return None


def _order_is_right(chain: Chain, nodes: list[Node]) -> bool:
    """int8 must end a chain, since integers cannot be trained; distill must not follow prune: it builds a new model."""
    right = True
    for step, node in zip(chain[:-1], nodes, strict=False):
        if isinstance(step, Int8):
            node.fail("int8 must be the last method of a chain: 8-bit weights cannot be pruned or trained")
            right = False
    for place, step in enumerate(chain):
        if isinstance(step, Distill) and any(isinstance(before, Prune) for before in chain[:place]):
            nodes[place].fail("distill must not come after prune: it builds a new student, so the pruning is lost")
            right = False
    return right
