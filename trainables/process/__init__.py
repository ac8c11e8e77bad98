"""What a process holds: its memory, its settings, its children, its sign of life."""
