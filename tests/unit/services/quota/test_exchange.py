"""What is said to Valkey, and how its answer is read."""

from gateway.services.quota.counter import MOST
from gateway.services.quota.exchange import Exchange, Identity, Opening, read_answer
from tests.unit.services.quota.counters import WINDOW, held, money, rate

WHO = Identity("w", 5000, 3000)


def test_each_counter_is_named_once_and_operations_refer_to_its_number() -> None:
    first, second, third = rate(leased=7), held(leased=2), money(MOST, leased=3)
    exchange = Exchange()
    exchange.open(third, Opening(5, 40))
    exchange.register(second)
    exchange.register(first)
    exchange.charge(first, 4)
    exchange.settle(third, 2, 9)
    exchange.ask([(first, 1), (third, 6)])
    exchange.give_back(first, 3)
    assert exchange.keys(WHO, "e") == [
        "{kubechat}:epoch",
        "{kubechat}:workers",
        "{kubechat}:short",
        "{kubechat}:e:last:w",
        "{kubechat}:e:money:w",
        "{kubechat}:e:m:money",
        "{kubechat}:e:h:held",
        "{kubechat}:e:r:rate",
    ]
    said = exchange.arguments(WHO, "e", 17, "0")
    assert said[:7] == ["w", "17", "e", "5000", "3000", "0", "3"]
    assert said[7:19] == ["m", str(MOST), "1", "16", "h", "8", "1", "16", "r", "60", "60", "16"]
    assert " ".join(said[19:]) == f"O 1 5 40 R 2 2 C 3 {WINDOW} 7 C 3 0 4 S 1 2 9 A 2 3 1 1 6 G 3 {WINDOW} 3"
    assert exchange.totals == {third: 9}


def test_an_answer_with_nothing_in_it_has_objects_for_its_empty_lists() -> None:
    read = read_answer(b'["epoch","","1700000000000001","0","0",{},{},{}]')
    assert (read.status, read.epoch, read.now_us) == ("epoch", "", 1_700_000_000_000_001)
    assert (list(read.rows), list(read.refusers), list(read.short), read.short_ms) == ([], [], [], "")


def test_numbers_are_exact_up_to_the_largest() -> None:
    read = read_answer(
        f'["ok","e","1","2","3",[["{MOST}","-{MOST}","4","missing"]],["0","1"],["k","9","l","10"]]'.encode()
    )
    assert (read.rows[0].extra, read.rows[0].remaining, read.rows[0].state) == (MOST, -MOST, "missing")
    assert (list(read.refusers), list(read.short), read.short_ms) == ([0, 1], ["k", "l"], "10")


def test_counters_are_closed_until_the_epoch_opens() -> None:
    assert read_answer(b'["ok","e","1999","1","2",{},{},{}]').closed
    assert not read_answer(b'["ok","e","2000","1","2",{},{},{}]').closed
