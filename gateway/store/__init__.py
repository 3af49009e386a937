"""The two stores, and how to reach them: PostgreSQL for what must last, Valkey for what is counted.

`embedded` starts both from wheels, on unix sockets under the home directory (`home`), when no address
was given; `launch` is the small program that becomes each server. `postgres` is a pool whose calls fail
only as `GatewayError("store_unavailable")`, with `listener` behind its `listen`; `valkey` opens Redis
addresses of every kind, Sentinel too. `migrate` applies `migrations/NNNN_name.sql`; `sql` reads the
named statements that services keep in `queries.sql` beside their code; `crypt` seals what services keep secret
there. `schema_dump` writes schema.sql.

Embedded or external, the SQL, the Lua and the code are the same. What never is here: a table's meaning.
"""
