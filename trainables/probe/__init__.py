"""Probes: the largest micro-batch that fits, and the time of its steps. They use the training loop's own step."""
