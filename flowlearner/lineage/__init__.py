"""What made an artifact and what used it, and which runs a change of a file or an operator would touch."""
