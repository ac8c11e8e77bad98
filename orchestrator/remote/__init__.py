"""A cluster and its machines: jobs that are submitted, the token, and what the doctor finds."""
