"""One folder a promise; none imports another.

`keys` says who is asking, `routing` where a model's requests may go, `prices` what tokens cost, `ledger`
that every attempt is written down once. A service knows nothing of calls or of HTTP servers; what it needs
of another it declares as a protocol, and `assembly` hands it one.
"""
