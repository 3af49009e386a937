"""The stages, one a file: each a thin adapter from a Call to one service."""
