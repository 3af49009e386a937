"""What a worker process and its supervisor say to each other: environment variables and one pipe."""

from __future__ import annotations

import os
from typing import Final

STATUS_FD: Final = "GATEWAY_STATUS_FD"
WORKER_NAME: Final = "GATEWAY_WORKER"
READY: Final = b"ready\n"


def worker_name() -> str:
    """This worker's name (`w0`, `w1`, …), the same for its replacement; `w0` where there is no supervisor."""
    return os.environ.get(WORKER_NAME, "w0")


def report_ready() -> None:
    """Tell the supervisor that requests are being served; nothing where there is none. Call it once."""
    fd = os.environ.pop(STATUS_FD, None)
    if fd is None:
        return
    try:
        os.write(int(fd), READY)
    finally:
        os.close(int(fd))
