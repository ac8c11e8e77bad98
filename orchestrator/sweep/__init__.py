"""The words of a sweep: its specification, its plan, its metrics and how its trials are named. No torch, no I/O."""
