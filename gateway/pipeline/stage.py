"""What a stage may do to a call."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import iscoroutinefunction
from typing import ClassVar

from mypy_extensions import mypyc_attr

from gateway.pipeline.call import Call, Reply

# What a stage's turn gives: an answer, nothing, or what has to be waited for to know.
Turn = Reply | Awaitable[Reply | None] | None


@mypyc_attr(allow_interpreted_subclasses=True)
class Stage:
    """One step of the pipeline. What a subclass does not override is never called and costs nothing.

    `on_request` runs in list order: return a Reply to answer now, raise a GatewayError to refuse. It may be a
    coroutine; a plain function that returns one only when it has to wait costs the usual request less.
    `on_end` runs in reverse order, exactly once for every stage whose turn began, after the answer, a
    failure or a disconnect. `on_chunk` sees what is about to go to the client of a stream; a GatewayError from
    it ends the stream. `name` is the stage's name in the configuration; `switchable` stages can be
    turned off there; an `optional` stage that breaks is passed over, any other refuses the request. Breaks
    means any exception but a GatewayError with a status below 500, which is a refusal from either.
    """

    name: ClassVar[str] = ""
    switchable: ClassVar[bool] = True
    optional: ClassVar[bool] = False

    def on_request(self, call: Call) -> Turn:
        """Look at the request before it is sent."""
        return None

    def on_chunk(self, call: Call, data: bytes) -> None:
        """Look at what goes to the client of a stream; may not wait."""

    async def on_end(self, call: Call) -> None:
        """Close this stage's account of the call."""


HOOKS = frozenset(name for name in vars(Stage) if name.startswith("on_"))
_EITHER = frozenset({"on_request"})


def check_stage(stage: Stage) -> None:
    """Refuse a stage with a hook that nobody would call, or not as it is written. Raises TypeError naming it."""
    for name in dir(type(stage)):
        if name.startswith("on_") and name not in HOOKS:
            raise TypeError(
                f"stage {type(stage).__name__} has an unknown hook {name}; known: {', '.join(sorted(HOOKS))}"
            )
    for name in HOOKS - _EITHER:
        if iscoroutinefunction(getattr(stage, name)) is not iscoroutinefunction(getattr(Stage, name)):
            kind = "a coroutine" if iscoroutinefunction(getattr(Stage, name)) else "a plain function"
            raise TypeError(f"{name} of stage {type(stage).__name__} must be {kind}")
    if not stage.name:
        raise TypeError(f"stage {type(stage).__name__} has no name")


async def take_turn(stage: Stage, call: Call) -> Reply | None:
    """The stage's turn with `call`, taken to its end."""
    turn = stage.on_request(call)
    return turn if turn is None or isinstance(turn, Reply) else await turn


def overrides(stage: Stage, hook: str) -> bool:
    """Does this stage's class bring its own `hook`?"""
    return getattr(type(stage), hook) is not getattr(Stage, hook)
