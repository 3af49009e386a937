"""A supervisor of two fake workers in a process of its own. Usage: python run_supervisor.py DIRECTORY MODE."""

import asyncio
import os
import sys
from pathlib import Path

from gateway.cli.supervisor import Supervisor
from gateway.metrics import Metrics


async def main() -> int:
    directory = Path(sys.argv[1])
    supervisor = Supervisor(
        [sys.executable, str(Path(__file__).with_name("fake_worker.py")), *sys.argv[1:]],
        2,
        env=dict(os.environ),
        metrics=Metrics.open(directory / "metrics", "supervisor"),
        on_ready=lambda: print("ready", flush=True),
    )
    return await supervisor.run()


sys.exit(asyncio.run(main()))
