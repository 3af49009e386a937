"""The benchmark harness behind `make bench`: the gateway beside nginx, LiteLLM and Portkey, one worker each.

`contestants.py` says what is compared and how each is started; `install.py` fetches what is missing.
Four sections measure: `throughput.py` (with wrk, `load.py`), `latency.py`, `streams.py` (with processes of our own,
`stream_upstream.py` and `stream_client.py`, which share `stream_format.py`) and `memory.py`. A section
returns plain dicts with its `checks`, targets against measured values (`figures.py`); `report.py`
and `chart.py` turn them into tables, Markdown and an SVG. `profiling.py` watches one contestant under load.

Everything runs on loopback with files in a temporary directory; nothing here is imported by the gateway.
docs/benchmarks.md describes the method.
"""
