"""Running again what has run: as it was, with changes, from where it ended, or to compare what comes out."""
