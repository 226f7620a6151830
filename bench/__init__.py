"""Isomorph and its peers, timed side by side: `python -m bench`."""
