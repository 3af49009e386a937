"""Who pays and who belongs to whom: organisations, teams, users, and the members of teams.

An organisation has teams, a team has users as members and keys, a user may be in many teams. What is disabled or
deleted takes its keys with it: Postgres announces the row (`organisations:id`, `teams:id`, `users:id`), and every
worker forgets the keys that depend on it. Nothing is deleted for good, for the ledger refers to it; a name stays taken.

`users` may be KubeChat's own table, in a shape of its own: it is read as JSON, and what the gateway has to say of a
user stands beside it, in `user_standing`. Every change is written to the audit log in its transaction.
"""
