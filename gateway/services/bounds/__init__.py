"""What a request can cost at most at one target, worked out before it is sent.

`worst_case.py` makes a `Bound` of a request, the target's price and what is known of the provider's bills
(`providers/billing.py`): `content.py` counts what is no text, `fields.py` names what nobody can bound, `output.py`
reads the cap on the answer and writes a smaller one, `rates.py` finds the dearest prices that the request can reach,
`texts.py` the texts whose tokens can be counted in place of their bytes.

All of it is pure. It sees no budgets: who reserves what, and what becomes of a request that does not fit, is decided
elsewhere. Prices come as the small protocol in `price.py`.
"""
