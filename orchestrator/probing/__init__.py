"""The command `paretune probe`: a probe trial on this machine, and what it found."""
