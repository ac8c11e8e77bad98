"""`python -m orchestrator`: the command line for a cluster's job, where `paretune` may not be on the PATH."""

from orchestrator.cli import main

main()
