"""The exit codes of every command, for scripts and for jobs on a cluster."""

DONE = 0  # success
FAILED = 1  # the command failed
INPUT_IS_WRONG = 2
RUNNING_ELSEWHERE = 3  # another process is running the same sweep: this one did nothing, and nothing is wrong
INTERRUPTED = 130  # Ctrl-C, as in shells
TERMINATED = 143  # SIGTERM, as in shells
