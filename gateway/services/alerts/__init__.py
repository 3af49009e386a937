"""Alerts: when a budget nears its end, burns too fast, or was charged more than was reserved, or when the usage
journal cannot be written, somebody is told.

- `queries.sql`: the rules. One statement finds what is due and inserts it; whoever inserts an alert tells of it.
- `alert.py`: one alert, in words and figures; pure.
- `webhook.py`: an alert as a signed HTTP request; pure.
- `service.py`: `Alerts`, one per worker: looks every second, tells the log and the metrics, delivers to webhooks.
- `history.py`: the alerts that were raised, page by page, for the admin API.

An alert is raised once per period, kind and threshold, whichever worker sees it; its deliveries are rows made in the
same transaction, so a worker that dies loses none. A delivery is claimed by one worker at a time. A webhook may hear of
an alert twice, where a worker dies between the answer and the note of it; both have the same `webhook-id`.
"""
