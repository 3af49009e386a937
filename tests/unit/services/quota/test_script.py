"""The script alone, on fakeredis, which lacks INFO and so is given it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import fakeredis
import pytest
from fakeredis._commands import command
from fakeredis._socket._fakesocket import FakeSocket

from gateway.services.quota.counter import Counter
from gateway.services.quota.exchange import EPOCH_KEY, WORKERS_KEY, Answer, Exchange, Identity, Opening, read_answer
from tests.unit.services.quota.counters import held, money

Say = Callable[[str, int, Exchange], Answer]


@command(name="INFO", fixed=(), repeat=(bytes,))
def info(self: Any, *sections: bytes) -> bytes:
    return b"# Server\r\nrun_id:0123456789abcdef\r\n"


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """What a worker says in an exchange of this number, and the answer. The epoch has begun."""
    monkeypatch.setattr(FakeSocket, "info", info, raising=False)
    client = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer())
    scripts = files("gateway.services.quota")
    found = scripts.joinpath("found.lua").read_text()
    assert client.eval(found, 2, EPOCH_KEY, WORKERS_KEY, "e", "0") == b"e"
    assert client.eval(found, 2, EPOCH_KEY, WORKERS_KEY, "another", "0") == b"e"
    text = scripts.joinpath("exchange.lua").read_text()

    def speak(worker: str, sequence: int, exchange: Exchange) -> Answer:
        identity = Identity(worker, 5000, 3000)
        keys = exchange.keys(identity, "e")
        return read_answer(client.eval(text, len(keys), *keys, *exchange.arguments(identity, "e", sequence, "0")))

    return speak


def asking(*amounts: tuple[Counter, int]) -> Exchange:
    exchange = Exchange()
    exchange.ask(amounts)
    return exchange


def test_a_repeated_exchange_has_the_same_answer_and_counts_once(say: Say) -> None:
    counter = held(8)
    assert say("w", 1, asking((counter, 3))) == say("w", 1, asking((counter, 3)))
    assert say("v", 1, asking((counter, 5))).rows[0].remaining == 0
    assert list(say("v", 2, asking((counter, 1))).refusers) == [1]


def test_what_is_asked_for_together_is_given_together_or_not_at_all(say: Say) -> None:
    wide, narrow = held(8), money(5)
    exchange = Exchange()
    exchange.open(narrow, Opening(1, 0))
    exchange.ask([(wide, 1), (narrow, 5)])
    exchange.ask([(wide, 8), (narrow, 4)])
    given = say("w", 1, exchange)
    assert list(given.refusers) == [1, 0]  # the budget is counter 1: it was named first
    assert [row.remaining for row in given.rows] == [0, 0]


def test_a_counter_of_money_that_is_not_known_is_missing_and_never_empty(say: Say) -> None:
    given = say("w", 1, asking((money(), 1)))
    assert (given.rows[0].state, list(given.refusers)) == ("missing", [1])
