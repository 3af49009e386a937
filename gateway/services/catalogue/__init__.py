"""Providers and models in the database: what the configuration declares, and what the admin API makes.

What is declared is written down at every start (`declare`) for others to see, and is changed in the configuration
only. What the admin API makes lives here: `register` makes, changes and deletes it, `checks` says what it must be,
its secrets sealed, and `forms` turns rows into the same objects that the configuration is read into, and
back. `Catalogue` (`service`) holds what was made, reads it anew when Postgres announces a change
(`gateway_changes`), and says so; `overlay` lays it over the settings for whoever builds routes. The configuration
wins over what was made, and what was made and cannot be used is left out with a reason: no row can keep a gateway
from starting.

Rows are marked deleted, never deleted: the ledger refers to them, and a name made again is the same row again.
"""
