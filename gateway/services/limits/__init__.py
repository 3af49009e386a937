"""Which limits there are, and which of them apply to somebody: of requests, tokens, and requests at once.

- `limit.py`: one limit, and those that the configuration declares; pure.
- `service.py`: `Limits`, all of them in this worker's memory; looked up without waiting.
- `register.py`: `LimitRegister`, the rows of `quota_limits` for the admin API; every change is in the audit log.
- `of_keys.py`: the limits that are part of a key's record.

A limit stands at a place: a scope, whose subject it is, and perhaps one model. Of the admin API's there is one at a
place; the configuration may declare another, and then both apply. Nothing is counted here.
"""
