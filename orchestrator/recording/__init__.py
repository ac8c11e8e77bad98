"""What happened, on disk and then in MLflow; and the way to look at it there."""
