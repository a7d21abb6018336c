"""Runs compiled graphs: one node, one scheduler, and the executors that launch nodes."""
