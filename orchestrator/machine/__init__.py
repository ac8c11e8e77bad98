"""This machine: what around it leads a command astray, the folder of a local Ray, signals."""
