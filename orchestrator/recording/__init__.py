"""The record of a sweep: the journal on its storage, and MLflow, which is filled from the journal."""
