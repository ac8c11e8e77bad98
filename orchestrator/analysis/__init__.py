"""Decisions: what the results of a sweep say. Values only; sentences are made in `orchestrator.wording`."""
