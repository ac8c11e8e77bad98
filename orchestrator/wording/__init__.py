"""Sentences: decisions of the analysis as text, once, for terminal, page, JSON and MLflow."""
