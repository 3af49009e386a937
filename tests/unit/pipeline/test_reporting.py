from __future__ import annotations

import pytest

from gateway.errors import GatewayError
from gateway.pipeline.reporting import OTHER, Reporting

KEY = bytes(range(32))


def test_a_request_that_says_nothing_is_written_down_as_nobodys() -> None:
    reporting = Reporting(max_tags=5, max_users=5)
    assert reporting.of({}, {"model": "m"}) == reporting.of({}, {"metadata": {}}) == ("", ())


def test_user_and_tags_are_found_wherever_they_are() -> None:
    reporting = Reporting(max_tags=5, max_users=5)
    assert reporting.of({b"x-gateway-tags": b"web"}, {"user": "ann"}) == ("ann", ("web",))
    assert reporting.of({}, {"user": "ann"}) == ("ann", ())
    assert reporting.of({}, {"metadata": {"user_id": "bob", "tags": ["web", "cli"]}}) == ("bob", ("web", "cli"))
    with pytest.raises(GatewayError):
        reporting.of({b"x-gateway-tags": b"a b"}, {})


def test_tags_beyond_the_bound_are_reported_as_other_and_the_first_keep_their_names() -> None:
    reporting = Reporting(max_tags=2, max_users=5)
    assert reporting.of({b"x-gateway-tags": b"a,b,c,d"}, {}) == ("", ("a", "b", OTHER))
    assert reporting.of({b"x-gateway-tags": b"b,e"}, {}) == ("", ("b", OTHER))


def test_users_beyond_the_bound_are_reported_as_other_and_known_to_budgets() -> None:
    reporting = Reporting(max_tags=5, max_users=1)
    assert [reporting.of({}, {"user": user})[0] for user in ("ann", "bob", "ann")] == ["ann", OTHER, "ann"]
    assert reporting.end_user({"user": "bob"}) == "bob"


def test_hashed_users_stay_equal_and_do_not_show_who_they_are() -> None:
    hashed = Reporting(max_tags=5, max_users=5, hash_key=KEY)
    ann, again, bob = (hashed.of({}, {"user": user})[0] for user in ("ann", "ann", "bob"))
    assert ann == again == hashed.end_user({"user": "ann"}) != bob
    assert len(ann) == 32
    assert ann != Reporting(max_tags=5, max_users=5, hash_key=KEY[::-1]).end_user({"user": "ann"})
    assert hashed.end_user({}) == ""


def test_an_administrator_names_an_end_user_or_gives_the_hash_that_is_shown() -> None:
    hashed = Reporting(max_tags=5, max_users=5, hash_key=KEY)
    ann = hashed.end_user({"user": "ann"})
    assert hashed.asked_for("ann") == hashed.asked_for(ann) == ann
    assert hashed.end_user({"user": ann}) != ann  # a caller that names itself so is hashed like any other
    assert Reporting(max_tags=5, max_users=5).asked_for("ann") == "ann"


def test_what_is_shown_of_a_request_has_no_end_user_whatever_it_has_for_one() -> None:
    hashed = Reporting(max_tags=5, max_users=5, hash_key=KEY)
    request = {"user": 4711, "metadata": {"user_id": "ann", "topic": "x"}, "model": "m"}
    shown = hashed.hidden(request)
    assert hashed.names(request) == {"4711": shown["user"], "ann": hashed.end_user({"user": "ann"})}
    assert shown == {
        "user": shown["user"],
        "metadata": {"user_id": hashed.names(request)["ann"], "topic": "x"},
        "model": "m",
    }
    assert len(shown["user"]) == 32
    assert request["user"] == 4711
    for nobody in ({"user": None, "metadata": []}, {"user": "", "metadata": {"user_id": None}}, {}):
        assert hashed.hidden(nobody) is nobody
    assert Reporting(max_tags=5, max_users=5).hidden(request) is request
