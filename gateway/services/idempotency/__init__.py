"""Requests with an `Idempotency-Key`, answered once: whoever sends one again gets the first one's answer.

A request claims its key (a row, held by a lease that its worker renews), marks the claim before anything is sent, and
ends it: with the answer, encrypted, or by giving the key back. Its twins, in this worker or another, wait until then.
A claim whose lease ran out says that its worker died: free to be taken over while nothing was sent, and from then on
an answer that nobody knows. What is written under a claim that another has taken over changes nothing.

`service.py` is the table, `answer.py` what is kept in it. Nothing here knows of streams: a stream is kept as the bytes
that its client got.
"""
