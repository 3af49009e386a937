"""The ledger: one row in `usage_costs` for every attempt that may have been billed, exactly once.

`entry.py` is one attempt and how it is written down. `journal.py` is a worker's own append-only file in segments
(`segment.py`, `bound.py`): a start record before each send, an end record before the response's last byte, each one
copy into mapped memory, so that neither waits for anything and both outlive the process. `copier.py` carries end
records to PostgreSQL in batches; the unique key (request id, attempt, time of start) makes copying a record twice
harmless, so no position is kept anywhere. The same transaction adds their cost to the budget periods that they name,
and a trigger keeps the roll-ups; `settlements.py` is who hears of it. `adoption.py` finds journals whose worker is gone
(their `flock` is free); `adopter.py` copies what they hold, closes starts without an end as outcome `unknown`, and
removes them. `months.py` makes and drops partitions; `service.py` joins these. `reports.py`, `export.py` and
`spending.py` read.

What survives: death of the process, always. Death of the machine: with `fsync: never` what the kernel had written back
(about 30 s are at risk), with `interval` all but the last `fsync_interval_ms`, with `always` everything whose `sync()`
had returned. A full disk, and a full journal unless it is to drop rows, refuses new attempts (`journal_unavailable`)
and never those that have begun: the room for their end records was set aside at their start.
"""
