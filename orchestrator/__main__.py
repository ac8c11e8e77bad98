"""`python -m orchestrator`: the command line where only Python's modules are sure to be found: in a cluster's job."""

from orchestrator.cli import main

main()
