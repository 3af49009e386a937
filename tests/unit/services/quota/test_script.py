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
from gateway.services.quota.exchange import (
    EPOCH_KEY,
    WORKERS_KEY,
    Answer,
    Exchange,
    Identity,
    Opening,
    counter_key,
    last_key,
    money_key,
    read_answer,
)
from tests.unit.services.quota.counters import held, money

Say = Callable[[str, int, Exchange], Answer]


@command(name="INFO", fixed=(), repeat=(bytes,))
def info(self: Any, *sections: bytes) -> bytes:
    return b"# Server\r\nrun_id:0123456789abcdef\r\n"


def script(name: str) -> str:
    return files("gateway.services.quota").joinpath(f"{name}.lua").read_text()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeStrictRedis:
    """A server in which the epoch has begun."""
    monkeypatch.setattr(FakeSocket, "info", info, raising=False)
    client = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer())
    assert client.eval(script("found"), 2, EPOCH_KEY, WORKERS_KEY, "e", "0") == b"e"
    assert client.eval(script("found"), 2, EPOCH_KEY, WORKERS_KEY, "another", "0") == b"e"
    return client


@pytest.fixture
def say(client: fakeredis.FakeStrictRedis) -> Say:
    """What a worker says in an exchange of this number, and the answer."""
    text = script("exchange")

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


def opening(counter: Counter, settled: int) -> Exchange:
    exchange = Exchange()
    exchange.open(counter, Opening(settled, 0))
    return exchange


def registering(counter: Counter, held: int) -> Exchange:
    exchange = Exchange()
    counter.holding = held
    exchange.register(counter)
    return exchange


def absent(client: fakeredis.FakeStrictRedis, counter: Counter, *workers: str) -> list[bytes]:
    keys = [WORKERS_KEY, counter_key("e", counter), *(money_key("e", worker) for worker in workers)]
    found: list[bytes] = client.eval(script("absent"), len(keys), *keys, *workers)
    return found


def test_a_missing_counter_keeps_what_is_held_and_the_totals_it_is_told_until_it_is_opened(say: Say) -> None:
    counter = money(100)
    said = registering(counter, 30)
    said.settle(counter, 10, 25)
    assert say("w", 1, said).rows[0].state == "missing"
    assert list(say("v", 1, asking((counter, 1))).refusers) == [1]
    opened = say("v", 2, opening(counter, 15)).rows[0]  # read before the ledger had those 10
    assert (opened.state, opened.remaining) == ("ok", 100 - 25 - 20)
    assert say("w", 2, registering(counter, 0)).rows[0].remaining == 75


def test_a_worker_is_absent_until_it_has_spoken_and_where_a_counter_has_lost_its_lease(
    client: fakeredis.FakeStrictRedis, say: Say
) -> None:
    counter = money(100)
    assert absent(client, counter, "w", "v") == [b"w", b"v"]
    first = opening(counter, 0)
    first.ask([(counter, 40)])
    say("w", 1, first)
    assert absent(client, counter, "w", "v") == [b"v"]
    say("v", 1, Exchange())
    assert absent(client, counter, "w", "v") == []
    client.delete(counter_key("e", counter))
    assert absent(client, counter, "w", "v") == [b"w"]
    settling = Exchange()
    settling.settle(counter, 5, 5)
    settling.give_back(counter, 7)
    say("w", 2, settling)  # that says nothing of what it still holds
    assert absent(client, counter, "w", "v") == [b"w"]
    say("w", 3, registering(counter, 28))
    assert absent(client, counter, "w", "v") == []
    assert say("v", 2, opening(counter, 0)).rows[0].remaining == 100 - 5 - 28


def test_a_worker_that_is_buried_is_not_heard_any_more_and_a_missing_counter_keeps_its_total(
    client: fakeredis.FakeStrictRedis, say: Say
) -> None:
    counter = money(100)
    say("w", 1, registering(counter, 30))
    key, own = counter_key("e", counter), money_key("e", "w")
    keys = [WORKERS_KEY, own, last_key("e", "w"), key]
    assert client.eval(script("bury"), len(keys), *keys, "w", "22") == b"30"
    late = Exchange()
    late.register(counter)
    with pytest.raises(ValueError, match="zero-length"):
        say("w", 2, late)  # it was on its way when its worker died
    assert client.zscore(WORKERS_KEY, "w") is None
    assert client.smembers(own) == set()
    assert say("v", 1, opening(counter, 10)).rows[0].remaining == 100 - 22
