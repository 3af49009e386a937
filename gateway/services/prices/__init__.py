"""What tokens and search units cost: integer pico-dollars for each, and an attempt's cost in integer nano-dollars.

`prices.json` holds what a gateway can meter, one model a line, written by `update.py` (`make
update-prices`) from the price map in litellm's wheel. `service.py` finds a model's line in it and makes a
`Price` (`price.py`), which does the arithmetic: exact, with one rounding per attempt, half up. What the
configuration says about a model's price goes first. A model nobody knows has no price, never a guess.
"""
