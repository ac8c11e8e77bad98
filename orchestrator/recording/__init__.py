"""What happened: the journal on the sweep's storage, and MLflow, which is filled from it."""
