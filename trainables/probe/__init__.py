"""The largest micro-batch that fits, and how long its steps take. Steps are the training loop's own."""
