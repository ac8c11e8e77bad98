"""MANY trials: the sweep file, the plan, scheduling, recording, comparing, the command line. Runs on the driver."""
