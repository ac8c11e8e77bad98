"""What is known of a user's task before a trial runs: from its source, its data, and a dry run of its steps."""
