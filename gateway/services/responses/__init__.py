"""Responses that the gateway keeps, so that the next request can go on from them by `previous_response_id`.

Kept are the ones that were translated to chat; a provider with a Responses API of its own keeps its own. A row holds
the request's own items and the response object; a conversation is the chain of rows, read from its end. Whoever may
not see a response learns nothing of it, not even that it is there. Nothing is written for `store: false`; what is
older than the retention is gone at once for readers, and for good when it is pruned. `service.py` is the table,
`keeping.py` writes to it beside the requests.
"""
