"""The settings of a trial, frozen and checked. Imports no torch."""
