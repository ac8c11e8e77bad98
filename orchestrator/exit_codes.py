"""The exit codes of every command, for scripts and for jobs on a cluster."""

DONE = 0  # the work was done
FAILED = 1  # it was not
INPUT_IS_WRONG = 2
RUNNING_ELSEWHERE = 3  # another run of the same sweep is at work: nothing was done, and nothing is wrong
INTERRUPTED = 130  # Ctrl-C, as shells have it
TERMINATED = 143  # SIGTERM, likewise
