"""Plans a sweep before anything runs: its trials, their learning rates and their work."""
