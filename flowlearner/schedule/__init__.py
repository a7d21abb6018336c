"""Owns schedules: recurring runs and sweeps as Prefect deployments, and the process that starts them."""
