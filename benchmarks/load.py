"""Closed-loop load with wrk: one thread, POSTing the one chat request as fast as it is answered."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks import install
from benchmarks.contestants import Running
from benchmarks.processes import Failed
from benchmarks.traffic import PATH, REQUEST, verify

CONNECTIONS = 64

_SCRIPT = """\
wrk.method = "POST"
wrk.body = [==[{body}]==]
{headers}

done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        "RESULT requests=%d duration_us=%d connect=%d read=%d write=%d timeout=%d status=%d p50_us=%d p99_us=%d\\n",
        summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.timeout, errors.status,
        latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk did. Latencies are wrk's own, at the load's concurrency, in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float = 0.0

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return self.requests / self.seconds


def script(headers: dict[str, str], body: bytes = REQUEST) -> str:
    """The Lua script that wrk runs."""
    all_headers = {"Content-Type": "application/json", **headers}
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in all_headers.items()]
    return _SCRIPT.format(body=body.decode(), headers="\n".join(lines))


def parse(output: str) -> Load:
    """Read wrk's output; raise `Failed` where a request failed or was not answered with success."""
    found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
    if found is None:
        raise Failed(f"wrk printed no result:\n{output[-2000:]}")
    fields = {name: int(value) for name, _, value in (part.partition("=") for part in found[1].split())}
    troubles = {name: fields[name] for name in ("connect", "read", "write", "timeout", "status") if fields[name]}
    if troubles or "Non-2xx" in output:
        what = ", ".join(f"{name}: {count}" for name, count in troubles.items())
        raise Failed(f"requests failed under load ({what}) of {fields['requests']}:\n{output[-2000:]}")
    if fields["requests"] == 0:
        raise Failed(f"not one request was answered:\n{output[-2000:]}")
    p50_ms, p99_ms = fields["p50_us"] / 1e3, fields["p99_us"] / 1e3
    return Load(fields["requests"], fields["duration_us"] / 1e6, p50_ms, p99_ms)


def wrk(running: Running, seconds: float, home: Path, connections: int = CONNECTIONS, body: bytes = REQUEST) -> Load:
    """Load one contestant for `seconds`; every answer must be a success. Raises `Failed` otherwise."""
    path = home / f"wrk-{running.name}.lua"
    path.write_text(script(running.headers, body))
    binary = install.debian("wrk", "wrk")
    url = f"http://127.0.0.1:{running.port}{PATH}"
    options = ["-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "60s", "-s", str(path)]
    verify(running.name, running.port, running.headers, body)
    cpu_before = running.server.cpu_s()
    done = subprocess.run([str(binary), *options, url], capture_output=True, text=True)
    cpu_s = running.server.cpu_s() - cpu_before
    running.server.check()
    if done.returncode != 0:
        raise Failed(f"wrk failed: {done.stderr[-2000:]}")
    load = parse(done.stdout)
    verify(running.name, running.port, running.headers, body)
    return Load(load.requests, load.seconds, load.p50_ms, load.p99_ms, cpu_s / load.requests * 1e6)
