"""Checks that this machine alone has enough CPUs and GPUs for the trials of a plan. Imports no Ray."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.running.resources import ClusterNode, NeverFitsError, check_fits, check_precision, need_of
from orchestrator.sweep.plan import Plan

DRIVER = Path("/proc/driver/nvidia/gpus")  # one entry for each GPU


def room_notes(plan: Plan) -> tuple[str, ...]:
    """A note on the first trial that is too large for this machine; empty if a cluster is to run the sweep."""
    resources = plan.sweep.resources
    if os.environ.get("RAY_ADDRESS") or resources.accelerator_type or resources.node_labels:
        return ()
    here = this_machine()
    try:
        check_precision(((trial.id, trial.config) for trial in plan.trials), (here,))
        wanted = ((trial.id, need_of(trial.config, (here,), resources.cpus_per_worker).claim) for trial in plan.trials)
        check_fits(wanted, (here,))
    except NeverFitsError as error:
        has = f"{here.cpus} CPU and {here.gpus} GPU"
        return (f"`run` without --address would use this machine alone ({has}) and refuse the sweep: {error}",)
    return ()


def this_machine() -> ClusterNode:
    """An upper bound of the CPUs and GPUs of a Ray started here; Ray also respects a container's CPU limit."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = len(list(DRIVER.iterdir())) if DRIVER.is_dir() else 0
    if visible is not None:
        gpus = min(gpus, len([one for one in visible.split(",") if one.strip()]))
    return ClusterNode(len(os.sched_getaffinity(0)), gpus)
