"""From the name of a model to the targets that may answer it.

`routes.py` holds the snapshot in force and picks from it; `build.py` makes a snapshot from the settings.
A reload swaps the whole snapshot; breakers live on across it.
"""
