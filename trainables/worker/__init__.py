"""The workers that run trials: messages, the runner that executes them, and the worker processes."""
