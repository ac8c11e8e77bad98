"""What `import paretune` hands on: each command as a function that returns a value or raises a ParetuneError."""
