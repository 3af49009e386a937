"""HTTP in: reads requests into Calls and writes what the pipeline answers.

`hot_lane.py` takes the plain POSTs that have the whole pipeline; whatever else comes on a connection goes to
aiohttp (`slow_lane.py`, `app.py`, `routes.py`). Both lanes hand a Call to the same pipeline, and `recorder.py`
tells metrics, log and telemetry how it ended. `openai/` and `admin/` hold the handlers of the other paths.
"""
