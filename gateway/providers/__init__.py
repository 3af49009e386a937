"""Whom to call, as data: one file a provider, each with one PROVIDER.

`provider.py` is the shape, `registry.py` finds a type by name. Nothing here opens a connection: `upstream`
reads the data and does the calling.
"""
