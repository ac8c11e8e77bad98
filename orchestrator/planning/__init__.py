"""Before anything runs: which trials come of a sweep file, with their learning rates and their work."""
