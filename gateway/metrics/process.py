"""What this process uses, read from /proc when the metrics are collected."""

from __future__ import annotations

import os
import resource

from gateway.metrics.registry import Metrics


def watch_process(metrics: Metrics) -> None:
    """Have `metrics` show this process's memory, open files and CPU time; where there is no /proc, CPU time alone."""
    memory = metrics.resident_memory_bytes.child()
    files = metrics.open_file_descriptors.child()
    cpu = metrics.cpu_seconds.child()
    page_bytes = resource.getpagesize()

    def collect() -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu.track(usage.ru_utime + usage.ru_stime)
        try:
            with open("/proc/self/statm", "rb") as statm:
                memory.set(int(statm.read().split()[1]) * page_bytes)
            files.set(len(os.listdir("/proc/self/fd")))
        except FileNotFoundError:
            return

    metrics.on_collect(collect)
