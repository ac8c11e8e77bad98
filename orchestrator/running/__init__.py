"""Trials on a cluster: who may run, in which gang, and what becomes of a failure. What imports Ray Tune."""
