"""The KubeChat LLM gateway: OpenAI in, any provider out, metered and limited exactly.

A request goes: `server` reads it into a Call, `pipeline` runs the stages of `pipeline/order.py`,
`upstream` calls the model, and the bytes come back the same way. `services` keep one promise each
(keys, ledger, prices, …) and know nothing of calls. `wire` and `providers` are pure data and pure
functions. `store` starts and reaches PostgreSQL and Valkey. `assembly` joins them all.

Imports point down: cli, assembly, server, pipeline, services, upstream | store, providers, wire,
settings | metrics | tasks, errors. import-linter holds this in `make check`.
"""

__version__ = "0.1.0"
