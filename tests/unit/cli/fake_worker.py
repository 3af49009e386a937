"""A worker that serves nothing: says it is ready, counts, drains as its mode says. Run by the supervisor's tests.

Usage: python fake_worker.py DIRECTORY MODE. It appends a line for each thing that happens to DIRECTORY/events.
"""

import os
import signal
import sys
import time
from pathlib import Path

from gateway.cli.worker_status import report_ready, worker_name
from gateway.metrics import Metrics

directory, mode = Path(sys.argv[1]), sys.argv[2]
name = worker_name()


def tell(event: str) -> None:
    with (directory / "events").open("a") as events:
        events.write(f"{event} {name} {os.getpid()}\n")


def drain(*_: object) -> None:
    tell("term")
    if mode != "stubborn":
        sys.exit(3 if mode == "drains-badly" else 0)


signal.signal(signal.SIGTERM, drain)
signal.signal(signal.SIGINT, lambda *_: tell("interrupt"))
tell("start")
if mode == "bad-config":
    sys.exit(2)
if mode == "silent":
    time.sleep(600)
metrics = Metrics.open(directory / "metrics", name)
metrics.requests.child("chat", "m", "p", "200").inc(10)
if mode == "slow-start":
    while not (directory / "go").exists():
        time.sleep(0.01)
signal.signal(signal.SIGHUP, lambda *_: tell("reload"))
report_ready()
if mode == "dies-at-once" and (directory / "events").read_text().count("start") > 1:
    sys.exit(1)
while True:
    time.sleep(0.05)  # not longer: a signal that comes just before the call is handled after it
