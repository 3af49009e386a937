"""What one run of the benchmark is asked to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import install


@dataclass(frozen=True)
class Plan:
    """Options of one run. `home` holds its servers' files and is deleted at the end; `say` prints progress.

    `quick` shortens everything to a smoke run whose figures mean little. `self_check` puts nginx in the
    gateway's place: its ratio to nginx must come out near 1, or the harness itself is wrong. `from_source` runs this
    checkout as `make run` does, not compiled.
    """

    home: Path
    contestants: tuple[str, ...]
    say: Callable[[str], None]
    quick: bool = False
    self_check: bool = False
    from_source: bool = False

    @cached_property
    def gateway(self) -> str:
        """The gateway's command; it is built first where that is needed, and stays the same for the run."""
        programs = Path(sys.executable).parent if self.from_source else install.gateway() / "bin"
        return str(programs / "kubechat-gateway")

    def choose(self, full: float, quick: float) -> float:
        """`full`, or `quick` in a quick run."""
        return quick if self.quick else full

    def count(self, full: int, quick: int) -> int:
        """As `choose`, for whole numbers."""
        return quick if self.quick else full
