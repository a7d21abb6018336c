"""Which change moved a metric: what differs between two runs, told apart by running mixtures of them."""
