"""Servers that speak as real providers do, over real HTTP, for the providers that no mock is made for.

Each has `start() -> base URL`, `stop()`, the requests it got in `requests`, and answers that tests queue with
`answer_next`; without those it answers with bytes as recorded or documented. Wrong credentials are refused.
"""
