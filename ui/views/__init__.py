"""The pages, each a script that the app runs."""
