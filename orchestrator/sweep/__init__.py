"""The types of a sweep: its specification, its plan, its metrics, the labels of its trials. No torch, no I/O."""
