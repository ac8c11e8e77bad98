"""An exported model: how it is written, read back, checked and measured in a process of its own."""
