"""Runs a plan: the ledger of its trials, the gangs that run them, the handling of failures."""
