"""Answers made in the gateway itself, deterministic, so that the first request works with no key and no network."""

from gateway.providers.provider import NoAuth, Provider

PROVIDER = Provider(name="demo", base_url="demo://local", auth=NoAuth(), local=True)
