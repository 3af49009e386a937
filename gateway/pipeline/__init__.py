"""What happens to a request, in the order of `order.py`.

A `Call` is one request with slots for what the stages find out; it knows nothing of the server that read
it. A stage is a thin adapter from a call to one service. `pipeline.py` runs the stages, then dispatch, and
closes each begun stage exactly once. Retry and fallback are not stages: they live in `upstream/dispatch.py`.
"""
