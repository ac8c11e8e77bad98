"""Trials that results ask for: a sweep that goes on by itself, as pure functions of (plan, results).

design   batch_size: auto as far as it is known before anything runs: its sizes, first trials and upper bounds
edges    learning rates beyond the edge of those tried, where the best one was there
auto     batch_size: auto from its first results to the confirmation
growth   which of these a plan asks for; called by orchestrator.adaptive.resolve

The same results give the same trials in whatever order they came, so a resumed sweep decides the same.
"""
