"""The workers of a trial: ranks, devices and the rendezvous."""
