"""Which budgets there are, which of them apply to somebody, and in which period each is.

- `period.py`: periods by the calendar of a time zone; pure.
- `budget.py`, `record.py`: a budget and a period of it, as the hot path and as an administrator see them.
- `held.py`, `service.py`: `Budgets`, all that is in force in this worker's memory; looked up without waiting.
- `periods.py`, `rows.py`: the rows of `budget_periods` and `cost_budgets`; every change is in the audit log.
- `register.py`, `of_keys.py`: what the admin API asks for, on budgets and on keys with their budget.
- `books.py`, `verifying.py`, `losses.py`: whether ledger, periods and counters agree; what dead workers leave behind.

The period in force is the one with the latest start of those that have begun and not ended. What was spent is counted
elsewhere: the ledger adds it to the period's row, in the transaction that adds its own rows. Whoever changes both
tables changes rows of `budget_periods` first, by id, and those of `cost_budgets` then; so nobody waits in a circle.
"""
