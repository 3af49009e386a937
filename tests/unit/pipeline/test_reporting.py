from __future__ import annotations

import pytest

from gateway.errors import GatewayError
from gateway.pipeline.reporting import OTHER, Reporting
from gateway.services.keys.key import Key

SECRET = bytes(range(32))
ONE = Key("1", "one", team_id="team-1")
TWO = Key("2", "two", team_id="team-2")
ALONE = Key("3", "alone")


def test_a_request_that_says_nothing_is_written_down_as_nobodys() -> None:
    reporting = Reporting(max_tags=5, max_users=5)
    assert reporting.of({}, {"model": "m"}, ONE) == reporting.of({}, {"metadata": {}}, ONE) == ("", ())


def test_user_and_tags_are_found_wherever_they_are() -> None:
    reporting = Reporting(max_tags=5, max_users=5)
    assert reporting.of({b"x-gateway-tags": b"web"}, {"user": "ann"}, ONE) == ("ann", ("web",))
    assert reporting.of({}, {"user": "ann"}, ONE) == ("ann", ())
    assert reporting.of({}, {"metadata": {"user_id": "bob", "tags": ["web", "cli"]}}, ONE) == ("bob", ("web", "cli"))
    with pytest.raises(GatewayError):
        reporting.of({b"x-gateway-tags": b"a b"}, {}, ONE)


def test_tags_beyond_the_bound_are_reported_as_other_and_the_first_keep_their_names() -> None:
    reporting = Reporting(max_tags=2, max_users=5)
    assert reporting.of({b"x-gateway-tags": b"a,b,c,d"}, {}, ONE) == ("", ("a", "b", OTHER))
    assert reporting.of({b"x-gateway-tags": b"b,e"}, {}, ONE) == ("", ("b", OTHER))


def test_users_beyond_the_bound_are_reported_as_other_and_known_to_budgets() -> None:
    reporting = Reporting(max_tags=5, max_users=1)
    assert [reporting.of({}, {"user": user}, ONE)[0] for user in ("ann", "bob", "ann")] == ["ann", OTHER, "ann"]
    assert reporting.end_user({"user": "bob"}) == "bob"


def test_hashed_users_stay_equal_and_do_not_show_who_they_are() -> None:
    hashed = Reporting(max_tags=5, max_users=5, hash_key=SECRET)
    ann, again, bob = (hashed.of({}, {"user": user}, ONE)[0] for user in ("ann", "ann", "bob"))
    assert ann == again == hashed.end_user({"user": "ann"}) != bob
    assert len(ann) == 32
    assert ann != Reporting(max_tags=5, max_users=5, hash_key=SECRET[::-1]).end_user({"user": "ann"})
    assert hashed.end_user({}) == ""


def tagged(reporting: Reporting, tag: bytes, key: Key) -> str:
    _, (tag_written,) = reporting.of({b"x-gateway-tags": tag}, {}, key)
    return tag_written


def named(reporting: Reporting, user: str, key: Key) -> str:
    return reporting.of({}, {"user": user}, key)[0]


def test_what_one_team_uses_up_leaves_the_others_theirs() -> None:
    reporting = Reporting(max_tags=1, max_users=1)
    sister = Key("4", "of the same team", team_id="team-1")
    rotated = Key("5", "rotated", line_id="3")
    assert [tagged(reporting, tag, ONE) for tag in (b"a", b"b")] == ["a", OTHER]
    assert [named(reporting, user, ONE) for user in ("ann", "bob")] == ["ann", OTHER]
    assert (tagged(reporting, b"c", sister), named(reporting, "cid", sister)) == (OTHER, OTHER)
    for key, tag, user in ((TWO, b"x", "uma"), (ALONE, b"y", "vic")):
        assert (tagged(reporting, tag, key), named(reporting, user, key)) == (tag.decode(), user)
    assert tagged(reporting, b"z", rotated) == OTHER


def test_the_next_day_begins_anew() -> None:
    now = [86_399.0]
    reporting = Reporting(max_tags=1, max_users=1, clock=lambda: now[0])
    assert [tagged(reporting, tag, ONE) for tag in (b"a", b"b")] == ["a", OTHER]
    now[0] += 1
    assert [tagged(reporting, tag, ONE) for tag in (b"b", b"a")] == ["b", OTHER]


def test_the_names_remembered_of_all_teams_together_are_bounded() -> None:
    reporting = Reporting(max_tags=1, max_users=1, most_names=8)
    keys = [Key(str(number), "one of many") for number in range(100)]
    for key in keys:
        assert (tagged(reporting, b"a", key), named(reporting, "ann", key)) == ("a", "ann")
        assert reporting._names <= 9
        assert len(reporting._tags) + len(reporting._users) <= 18


def test_an_administrator_names_an_end_user_or_gives_the_hash_that_is_shown() -> None:
    hashed = Reporting(max_tags=5, max_users=5, hash_key=SECRET)
    ann = hashed.end_user({"user": "ann"})
    assert hashed.asked_for("ann") == hashed.asked_for(ann) == ann
    assert hashed.end_user({"user": ann}) != ann  # a caller that names itself so is hashed like any other
    assert Reporting(max_tags=5, max_users=5).asked_for("ann") == "ann"


def test_what_is_shown_of_a_request_has_no_end_user_whatever_it_has_for_one() -> None:
    hashed = Reporting(max_tags=5, max_users=5, hash_key=SECRET)
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
