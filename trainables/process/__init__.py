"""A process: its memory, its global settings, its child processes and its heartbeat."""
