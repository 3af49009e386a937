"""Wire formats: bytes to dicts and back, pure. No await, no clock, no network, no settings.

Each dialect is one file with four parts: encode a request, decode a reply, decode a stream, decode an
error. Every dialect translates to and from OpenAI's form, so N formats are N files. `usage.py` is what
all of them report; `sse.py` and `splice.py` are the byte work that they share.
"""
