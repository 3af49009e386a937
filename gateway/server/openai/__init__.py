"""Handlers of OpenAI's API beside the hot path: models, the key's own page, and what is passed through."""
