"""Processes: memory, global settings, child processes and the heartbeat."""
