"""Exported models: written, read back, checked, and measured in a separate process."""
