"""The only code that calls a model.

`connection.py` and `pool.py` are an HTTP/1.1 client that pushes what it reads to a receiver, with no task in
between; `attempt.py` has the receivers, `dispatch.py` tries a route's targets until one answers, guided by
`errors.FAILURES`, `retries.py` and each target's breaker in `health.py`. `job.py` says what dispatch needs to
know of a request: nothing of keys, prices or HTTP servers. `copies.py` and `braid.py` make several answers of
providers that give one. `demo.py` answers without any network.
"""
