"""The workers of a trial: which one this is, and how they meet."""
