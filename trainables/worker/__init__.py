"""How a trial is driven: messages, the runner that obeys them, and the processes that it runs in."""
