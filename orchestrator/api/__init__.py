"""The functions behind `import paretune`: each command as a function that returns a value or raises a ParetuneError."""
