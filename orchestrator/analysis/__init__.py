"""Decisions from the results of a sweep, as values; `orchestrator.wording` turns them into sentences."""
