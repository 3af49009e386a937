"""Builds every object of a worker once and joins them; the only place that knows all parts.

`worker.py` does the building, puts changed settings in force, and ends it all; `options.py` reads each part's
options from the settings, `in_force.py` holds providers and models, `answering_once.py` what answers requests once.
"""

from gateway.assembly.worker import KEY_VARIABLES, STAGES, Ground, Worker

__all__ = ["KEY_VARIABLES", "STAGES", "Ground", "Worker"]
