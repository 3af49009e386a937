"""What batches cost: each one that was made through the gateway is metered once, when it has ended.

A row says who made a batch at which provider. `service.py` asks for the unfinished ones at an interval, or at once
when a client's own request has shown an end. Whoever asks claims the row first, so one worker of all asks at a time;
a claim runs out, so a dead worker's batches go to another.

What a batch used is decided once: the first `decide` is kept in the row, and all that is written later is made from
it, under the row's own id and time. So it may be written again after a kill without counting twice. A row is closed
when the ledger has it. Whom to ask (`Source`) and where to write (`Book`) are handed in.
"""
