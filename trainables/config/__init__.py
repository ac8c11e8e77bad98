"""What a trial is told: every setting, frozen and checked. Imports no torch."""
