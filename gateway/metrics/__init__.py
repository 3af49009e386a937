"""Every Prometheus metric of the gateway: one table, numbers that outlive their worker, one scrape.

`table.py` lists the metrics as data. `registry.py` turns each row into a typed attribute of `Metrics`;
hot code asks a family for a child once (`metrics.requests.child("chat", …)`) and then only adds to a
float in memory. `slots.py` keeps those floats in a file that the worker has mapped, so that a kill -9
loses nothing; `totals.py` sums the files of all workers for a scrape, whichever worker is asked, and
folds those of dead workers into one. `exposition.py` writes the sums through prometheus_client.

Only the thread of the event loop may change a metric: an increment is a load and a store.
Nothing here knows what a request is.
"""

from gateway.metrics.families import Counter, CounterFamily, Gauge, GaugeFamily, Histogram, HistogramFamily
from gateway.metrics.registry import Metrics

__all__ = ["Counter", "CounterFamily", "Gauge", "GaugeFamily", "Histogram", "HistogramFamily", "Metrics"]
