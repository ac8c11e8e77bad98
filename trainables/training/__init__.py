"""Trains a model on its data with its settings: the training loop and its parts."""
