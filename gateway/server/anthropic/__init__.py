"""Handlers of Anthropic's API beside the hot path: token counts, models, and who is to be answered in its shape."""
