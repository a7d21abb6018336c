"""Sweeps: many runs of one workflow over a space of parameters, with the work that they share done once."""
