"""How many tokens a text is, by the tokenizer of the very model that it is for.

tiktoken counts, with the ranks that lie in litellm's wheel; both are extras, nothing is fetched, and litellm is not
imported. An encoding is loaded when it is first asked for (some 70 MB) and texts are encoded, one request's after the
other, in a thread, so that the loop goes on. Whoever asks is told nothing, soon, where a count cannot be had: it is
never needed, for a token is at least a byte.
"""
