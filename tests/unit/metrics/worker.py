"""A real worker process for the tests: counts for ever (`count`) or folds for ever (`fold`), until it is killed."""

import sys
import time
from pathlib import Path

from gateway.metrics import Metrics

directory, worker, work = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
metrics = Metrics.open(directory, worker)
counter = metrics.requests.child("chat", "m", "p", "200")
duration = metrics.request_duration.child("chat", "m")
metrics.streams_open.child().set(4)
if work.isdigit():
    for _ in range(int(work)):
        counter.inc()
        duration.observe(0.25)
sys.stdout.write("ready\n")
sys.stdout.flush()
while work == "fold":
    metrics.fold()
while True:
    time.sleep(1)
