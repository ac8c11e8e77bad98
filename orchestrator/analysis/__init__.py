"""Decisions from the results of a sweep, as values; `orchestrator.wording` makes sentences of them."""
