"""OpenAI's own vocabularies, where they are there: `pip install tiktoken`, and litellm's wheel with `--no-deps`, for it
wants an older `openai` than the tests do."""

from __future__ import annotations

import pytest

from gateway.services.tokenizers.service import ranks_folder

needs_ranks = pytest.mark.skipif(ranks_folder() is None, reason="tiktoken, or litellm with its ranks, is not installed")
