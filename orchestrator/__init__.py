"""Many trials: spec, plan, scheduling, recording, analysis, command line. Runs on the driver."""
