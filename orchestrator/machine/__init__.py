"""This machine: settings that could mislead a command, the folder of a local Ray, signals."""
