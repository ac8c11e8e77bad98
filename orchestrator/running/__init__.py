"""Runs a plan: the ledger of its trials, the gangs that run them, and what is done about failures."""
