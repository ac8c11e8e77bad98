"""What comes of a sweep file: its trials with their rates and workloads, and which trials results ask for.

Imports no torch, Ray or MLflow.
"""
