"""Sweeps on a cluster that somebody else started: submitting, following, and what is wrong with it."""
