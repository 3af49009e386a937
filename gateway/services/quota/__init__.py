"""Counting, shared by all workers: requests, tokens, requests at once, and money.

A counter stands in Valkey; a worker leases a share of what remains of it, spends the share in process, and asks again
when it runs short. What a worker sends and gets is one *exchange* (`exchange.lua`): everything that was given back,
settled or asked for since the last one, decided in one step. Exchanges are numbered, so a repeated one gets the same
answer; they also tell the worker Valkey's clock, how many workers are alive, and which counters ran short elsewhere, so
that idle leases of those go back.

- `counter.py`: a counter as a worker sees it, with its lease.
- `exchange.py`: what is said to Valkey, and how the answer is read; pure.
- `leases.py`: what this worker has leased, what it will say next, and what an answer changes.
- `service.py`: `Quota`, which takes units and keeps the exchanges going; `scripts.py`: the Lua that it runs.
- `outage.py`: what may be spent while Valkey is away; `rollcall.py`: who has to be heard of after it lost counters.

Three kinds: RATE is counted in fixed windows of Valkey's clock, and a lease dies with its window; HELD is given back
when a request ends, and freed when its worker is silent for `lease_s`; MONEY is held until the ledger has the row that
it was spent on, whatever becomes of the worker. The keys belong to an epoch that is bound to one run of the server:
after a restart, a failover or a FLUSHALL all that is counted is built anew from the ledger and from what the workers
hold.
"""
