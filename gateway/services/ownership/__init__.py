"""Whose are the objects that lie at the providers: files, batches, fine-tuning jobs, uploads, stored responses?

A row says which provider holds an object and which team (or key without a team) made it. Whoever may not see
an object learns nothing of it: not that it exists, not where. The objects themselves are never kept here.
"""
