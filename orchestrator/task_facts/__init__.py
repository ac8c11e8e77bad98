"""Facts about a user's task before any trial runs: from its source code, its data, and a dry run of its steps."""
