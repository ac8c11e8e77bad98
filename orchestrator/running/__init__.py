"""Runs a plan: the ledger of its trials, the gangs that run them, and the handling of failures."""
