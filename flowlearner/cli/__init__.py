"""The command line: commands by noun, what they print, and what they end with."""
