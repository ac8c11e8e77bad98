"""MLflow: runs, views and the note of a sweep, filled from the journal exactly once."""
