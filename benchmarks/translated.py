"""What translation costs: OpenAI's dialect in, an upstream of Anthropic's, against the way on which bytes pass."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks import contestants, streams
from benchmarks.figures import Check, pair_ratio
from benchmarks.load import Load, wrk
from benchmarks.plan import Plan
from benchmarks.stream_format import PERIOD_S
from benchmarks.traffic import REQUEST, TRANSLATED_REQUEST

RATIO_TARGET = 0.5
STREAMS = 500
BEHIND_TARGET_S = 0.5


def measure(plan: Plan) -> dict[str, Any]:
    """Requests per second of both ways in pairs, and translated streams; return figures and checks."""
    with contestants.fixed_upstream(plan.home) as port, contestants.run("ours", plan, port) as ours:
        pairs: list[tuple[Load, Load]] = []
        for body in (REQUEST, TRANSLATED_REQUEST):
            wrk(ours, plan.choose(5, 1), plan.home, body=body)
        for index in range(plan.count(5, 2)):
            loads = {body: wrk(ours, plan.choose(6, 2), plan.home, body=body) for body in _turns(index)}
            pairs.append((loads[TRANSLATED_REQUEST], loads[REQUEST]))
            plan.say(f"  pair {index + 1}: translated {pairs[-1][0].rate:,.0f}/s, passed {pairs[-1][1].rate:,.0f}/s")
    with (
        contestants.stream_upstream(plan.home) as port,
        contestants.run("ours", plan, port, streaming=True) as ours,
    ):
        streamed = streams.client(
            ours.port,
            ours.headers,
            streams=STREAMS,
            chunks=round(plan.choose(10, 3) / PERIOD_S),
            spread_s=streams.SPREAD_S,
            translated=True,
        )
    behind_s = streamed["behind_ms"]["max"] / 1e3
    plan.say(f"  {streamed['complete']} of {STREAMS} translated streams complete, furthest behind {behind_s:.3f} s")
    ratio = pair_ratio([(translated.rate, passed.rate) for translated, passed in pairs])
    checks = [
        Check("translated requests / passed ones", ratio, "×", least=RATIO_TARGET),
        Check("500 translated streams: not delivered", STREAMS - streamed["complete"], "", most=0),
        Check("500 translated streams: the chunk furthest behind", behind_s, "s", most=BEHIND_TARGET_S),
    ]
    return {
        "ratio": ratio,
        "pairs": [[asdict(translated), asdict(passed)] for translated, passed in pairs],
        "streams": streamed,
        "checks": [check.as_json() for check in checks],
    }


def _turns(index: int) -> tuple[bytes, bytes]:
    """The two requests, either one first in turn, so that a drift of the machine cancels."""
    return (REQUEST, TRANSLATED_REQUEST) if index % 2 else (TRANSLATED_REQUEST, REQUEST)
