"""Trials that depend on results, as pure functions of (plan, results).

    rate_edges    further learning rates, if the best one was the lowest or highest tried
    auto_search   batch_size: auto from its first results to the confirmation
    next_trials   chooses between these for a plan; called by orchestrator.adaptive.resolve

The plan of batch_size: auto before any result is in orchestrator.planning.auto_design. The same results give the same
trials, in whatever order they arrive, so a resumed sweep decides the same.
"""
