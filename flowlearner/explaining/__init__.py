"""Why nodes ran: what differs, in code and inputs, between a node run and an earlier one.

Code is compared as it is written in the snapshots that runs keep. Nothing of it is loaded, so that a page may
ask, and a package that is gone or a file that does not import any more is no obstacle.
"""
