from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.errors import GatewayError
from gateway.services.keys.format import LENGTH, make_token
from gateway.services.keys.secret import Secret, Secrets
from gateway.services.keys.service import Keys, KeysOptions
from gateway.tasks import Tasks
from tests.unit.services.keys.fakes import SECRET, SECRETS, FakePostgres

MASTER = "sk-kc-master-0123456789abcdef"
REFUSED_STALE = KeysOptions(on_stale="refuse", max_stale_s=30)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(0)


@pytest.fixture
def store() -> FakePostgres:
    return FakePostgres()


@pytest.fixture
def keys(store: FakePostgres, tasks: Tasks) -> Keys:
    return make(store, tasks)


def make(store: FakePostgres, tasks: Tasks, options: KeysOptions | None = None, secrets: Secrets = SECRETS) -> Keys:
    return Keys(store, secrets, tasks, master_key=MASTER, options=options)  # type: ignore[arg-type]


async def refusal(keys: Keys, token: str) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await keys.find(token)
    return raised.value


async def test_a_key_is_read_once_and_warm_from_then_on(keys: Keys, store: FakePostgres) -> None:
    token, key_id = store.add(name="app", team="core", models=["gpt-*"])
    assert keys.find_cached(token) is None
    found = await keys.find(token)
    assert (found.id, found.name, found.team) == (key_id, "app", "core")
    assert found.allows_model("gpt-4o")
    assert not found.allows_model("o1")
    assert keys.find_cached(token) is found
    assert await keys.find(token) is found
    assert len(store.asked) == 1


async def test_a_thousand_look_ups_of_one_key_at_once_make_one_query(keys: Keys, store: FakePostgres) -> None:
    token, _ = store.add()
    found = await asyncio.gather(*(keys.find(token) for _ in range(1000)))
    assert len(set(map(id, found))) == 1
    assert len(store.asked) == 1


async def test_a_look_up_that_comes_while_the_query_runs_shares_its_answer(keys: Keys, store: FakePostgres) -> None:
    token, _ = store.add()
    store.hold = asyncio.Event()
    first = asyncio.ensure_future(keys.find(token))
    await asyncio.sleep(0.01)
    second = asyncio.ensure_future(keys.find(token))
    await asyncio.sleep(0.01)
    store.hold.set()
    assert await first is await second
    assert len(store.asked) == 1


async def test_a_key_in_use_stays_warm_when_others_come(store: FakePostgres, tasks: Tasks) -> None:
    keys = make(store, tasks, KeysOptions(cache_size=3))
    used, _ = store.add()
    await keys.find(used)
    for _ in range(10):
        assert keys.find_cached(used) is not None
        await keys.find(store.add()[0])
    assert keys.find_cached(used) is not None


async def test_a_second_reload_while_one_runs_is_run_too(keys: Keys, store: FakePostgres) -> None:
    token, key_id = store.add()
    await keys.find(token)
    store.hold = asyncio.Event()
    keys.on_change("reload")
    await asyncio.sleep(0.01)
    store.revoke(key_id)
    keys.on_change("reload")
    assert keys.find_cached(token) is not None
    store.hold.set()
    await keys.reload()
    assert keys.find_cached(token) is None


async def test_no_key_is_asked_for_one(keys: Keys, store: FakePostgres) -> None:
    assert (await refusal(keys, "")).code == "missing_api_key"
    assert store.asked == []


async def test_a_forged_key_costs_no_look_up(keys: Keys, store: FakePostgres) -> None:
    forged = make_token(Secret.parse("the secret of some other gateway 1"))
    for token in (forged, "sk-proj-somebody-elses", "x", "sk-kc-" + "é" * (LENGTH - 6), "\udcff"):
        error = await refusal(keys, token)
        assert (error.code, error.status) == ("invalid_api_key", 401)
    assert store.asked == []
    assert keys.refused == 0


async def test_no_refusal_tells_a_token(keys: Keys, store: FakePostgres) -> None:
    expired, _ = store.add(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    disabled, _ = store.add(disabled=True)
    revoked, _ = store.add(revoked_at=datetime.now(UTC))
    wanted = {"expired_api_key": expired, "disabled_api_key": disabled, "invalid_api_key": revoked}
    for code, token in wanted.items():
        for _ in range(2):
            error = await refusal(keys, token)
            assert error.code == code
            assert error.status == 401
            assert f"{token[:9]}…{token[-4:]}" in error.message
            assert token[:10] not in error.message
            assert token[-5:] not in error.message
    assert len(store.asked) == 3


async def test_an_unknown_key_is_asked_for_once(keys: Keys, store: FakePostgres) -> None:
    token = make_token(SECRET)
    for _ in range(5):
        assert (await refusal(keys, token)).code == "invalid_api_key"
    assert len(store.asked) == 1


async def test_a_key_that_was_just_made_works_though_it_was_unknown_before(keys: Keys, store: FakePostgres) -> None:
    token, key_id = store.add()
    row = store.rows.pop(key_id)
    assert (await refusal(keys, token)).code == "invalid_api_key"
    store.rows[key_id] = row
    keys.on_change(f"api_keys:{key_id}")
    assert (await keys.find(token)).id == key_id


async def test_a_flood_of_unknown_keys_makes_few_queries_one_at_a_time(keys: Keys, store: FakePostgres) -> None:
    tokens = [make_token(SECRET) for _ in range(2000)]
    errors = await asyncio.gather(*(keys.find(token) for token in tokens), return_exceptions=True)
    assert {error.code for error in errors if isinstance(error, GatewayError)} == {"invalid_api_key"}
    assert len(errors) == 2000
    assert store.most_at_once == 1
    assert len(store.asked) <= 2000 // 256 + 2


async def test_beyond_what_may_wait_a_flood_is_turned_away_as_overload(keys: Keys, store: FakePostgres) -> None:
    store.hold = asyncio.Event()
    flood = [asyncio.ensure_future(keys.find(make_token(SECRET))) for _ in range(6000)]
    await asyncio.sleep(0.05)
    turned_away = [task for task in flood if task.done()]
    assert {task.exception().code for task in turned_away} == {"overloaded"}  # type: ignore[union-attr]
    assert 6000 - 4096 - 256 <= len(turned_away) <= 6000 - 4096
    store.hold.set()
    rest = await asyncio.gather(*flood, return_exceptions=True)
    assert {error.code for error in rest} == {"overloaded", "invalid_api_key"}  # type: ignore[union-attr]


async def test_refused_keys_are_bounded_in_number(store: FakePostgres, tasks: Tasks) -> None:
    keys = make(store, tasks, KeysOptions(negative_cache_size=100))
    await asyncio.gather(*(keys.find(make_token(SECRET)) for _ in range(500)), return_exceptions=True)
    assert keys.refused == 100


async def test_warm_keys_are_bounded_in_number(store: FakePostgres, tasks: Tasks) -> None:
    keys = make(store, tasks, KeysOptions(cache_size=10))
    tokens = [store.add()[0] for _ in range(50)]
    for token in tokens:
        await keys.find(token)
    assert keys.warm == 10
    assert [token for token in tokens if keys.find_cached(token)] == tokens[-10:]


async def test_a_warm_key_expires_at_its_time(keys: Keys, store: FakePostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_at = datetime(2100, 1, 1, tzinfo=UTC)
    token, _ = store.add(expires_at=ends_at)
    found = await keys.find(token)
    assert found.expires_at_us == int(ends_at.timestamp()) * 1_000_000
    monkeypatch.setattr(time, "time", lambda: ends_at.timestamp() - 0.001)
    assert keys.find_cached(token) is found
    monkeypatch.setattr(time, "time", ends_at.timestamp)
    assert keys.find_cached(token) is None
    assert (await refusal(keys, token)).code == "expired_api_key"
    assert len(store.asked) == 1


async def test_while_the_database_is_away_warm_keys_work_and_others_get_503(keys: Keys, store: FakePostgres) -> None:
    warm, _ = store.add()
    cold, cold_id = store.add()
    await keys.find(warm)
    store.away = True
    assert keys.find_cached(warm) is not None
    error = await refusal(keys, cold)
    assert (error.code, error.status) == ("key_store_unavailable", 503)
    assert error.retry_after_s is not None
    assert (await refusal(keys, "sk-kc-forged")).status == 401
    store.away = False
    assert (await keys.find(cold)).id == cold_id


async def test_a_caller_that_leaves_does_not_take_the_answer_from_the_others(keys: Keys, store: FakePostgres) -> None:
    token, key_id = store.add()
    store.hold = asyncio.Event()
    first, second = (asyncio.ensure_future(keys.find(token)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0)
    store.hold.set()
    assert (await second).id == key_id
    assert first.cancelled()


async def test_look_ups_that_a_shutdown_cuts_end_in_503(store: FakePostgres) -> None:
    tasks = Tasks()
    keys = make(store, tasks)
    store.hold = asyncio.Event()
    waiting = [asyncio.ensure_future(keys.find(make_token(SECRET))) for _ in range(300)]
    await asyncio.sleep(0.01)
    await tasks.drain(0)
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {error.code for error in errors} == {"key_store_unavailable"}  # type: ignore[union-attr]


async def test_a_revocation_heard_while_the_row_was_read_keeps_the_old_row_out(keys: Keys, store: FakePostgres) -> None:
    token, key_id = store.add()

    def revoke() -> None:
        store.meanwhile = None
        store.revoke(key_id)
        keys.on_change(f"api_keys:{key_id}")

    store.meanwhile = revoke
    assert "revoked" in (await refusal(keys, token)).message
    assert keys.find_cached(token) is None
    assert len(store.asked) == 2


@pytest.mark.parametrize("payload", ["reload", "api_keys:reload"])
async def test_a_bulk_change_heard_while_the_row_was_read_keeps_the_old_row_out(
    keys: Keys, store: FakePostgres, payload: str
) -> None:
    token, key_id = store.add()

    def revoke() -> None:
        store.meanwhile = None
        store.revoke(key_id)
        keys.on_change(payload)

    store.meanwhile = revoke
    assert "revoked" in (await refusal(keys, token)).message


async def test_a_key_that_never_rests_is_answered_and_not_kept(keys: Keys, store: FakePostgres) -> None:
    token, key_id = store.add()
    store.meanwhile = lambda: keys.on_change(f"api_keys:{key_id}")
    assert (await keys.find(token)).id == key_id
    assert keys.find_cached(token) is None
    assert len(store.asked) == 3


async def test_changes_of_other_keys_do_not_keep_a_key_from_becoming_warm(keys: Keys, store: FakePostgres) -> None:
    token, _ = store.add()
    store.meanwhile = lambda: keys.on_change("api_keys:0198c7e6-0000-7000-8000-000000000000")
    await keys.find(token)
    assert keys.find_cached(token) is not None
    assert len(store.asked) == 1


async def test_a_change_takes_effect_at_the_next_request(keys: Keys, store: FakePostgres) -> None:
    token, key_id = store.add(models=["a"])
    assert not (await keys.find(token)).allows_model("b")
    store.rows[key_id]["models"] = ["a", "b"]
    keys.on_change(f"api_keys:{key_id}")
    assert keys.find_cached(token) is None
    assert (await keys.find(token)).allows_model("b")


async def test_a_renamed_team_is_seen_on_its_keys(keys: Keys, store: FakePostgres) -> None:
    team_id = "0198c7e6-1111-7000-8000-000000000000"
    token, key_id = store.add(team_id=team_id, team="old")
    await keys.find(token)
    store.rows[key_id]["team"] = "new"
    keys.on_change(f"teams:{team_id}")
    assert (await keys.find(token)).team == "new"


@pytest.mark.parametrize("payload", ["models:1", "", ":", "api_keys", "api_keys:", "teams:", "\0"])
async def test_news_of_other_things_does_no_harm(keys: Keys, store: FakePostgres, payload: str) -> None:
    token, _ = store.add()
    await keys.find(token)
    keys.on_change(payload)
    assert keys.find_cached(token) is not None


async def test_a_reload_reads_all_warm_keys_in_bulk_and_empties_nothing_first(keys: Keys, store: FakePostgres) -> None:
    made = [store.add() for _ in range(1500)]
    await asyncio.gather(*(keys.find(token) for token, _ in made))
    store.asked.clear()
    store.hold = asyncio.Event()
    store.revoke(made[0][1])
    store.rows[made[1][1]]["disabled"] = True
    store.rows[made[2][1]]["name"] = "renamed"
    reload = asyncio.ensure_future(keys.reload())
    await asyncio.sleep(0.01)
    assert all(keys.find_cached(token) for token, _ in made)
    store.hold.set()
    await reload
    assert len(store.asked) == 3
    assert [keys.find_cached(token) is None for token, _ in made[:3]] == [True, True, False]
    assert keys.find_cached(made[2][0]).name == "renamed"  # type: ignore[union-attr]
    assert keys.warm == 1498


async def test_after_a_bulk_change_a_key_is_read_before_its_turn_when_it_is_used(
    keys: Keys, store: FakePostgres
) -> None:
    kept, kept_id = store.add()
    revoked, revoked_id = store.add()
    await keys.find(kept)
    await keys.find(revoked)
    store.revoke(revoked_id)
    keys.on_change("api_keys:reload")
    assert keys.find_cached(kept) is None
    assert keys.find_cached(revoked) is None
    assert (await keys.find(kept)).id == kept_id
    assert "revoked" in (await refusal(keys, revoked)).message
    assert keys.find_cached(kept) is not None


async def test_after_a_bulk_change_that_cannot_be_read_the_old_keys_stay_in_force(
    keys: Keys, store: FakePostgres
) -> None:
    token, key_id = store.add()
    await keys.find(token)
    store.away = True
    keys.on_change("api_keys:reload")
    assert (await keys.find(token)).id == key_id


async def test_a_reload_that_fails_keeps_the_old_keys_and_tries_on(keys: Keys, store: FakePostgres) -> None:
    token, key_id = store.add()
    await keys.find(token)
    store.away = True
    store.revoke(key_id)
    keys.on_change("reload")
    await asyncio.sleep(0.05)
    assert keys.find_cached(token) is not None
    assert keys.stale_s() > 0
    store.away = False
    await keys.reload()
    assert keys.find_cached(token) is None
    assert keys.stale_s() == 0


async def test_once_news_stay_away_too_long_a_key_is_read_again_or_refused(store: FakePostgres, tasks: Tasks) -> None:
    keys = make(store, tasks, REFUSED_STALE)
    token, _ = store.add()
    found = await keys.find(token)
    store.stale_s = 31
    keys._next_stale_check_s = 0
    assert keys.find_cached(token) is found  # its row was read less than that long ago
    found.loaded_at_s -= 31
    assert keys.find_cached(token) is None
    again = await keys.find(token)
    assert again is not found
    assert keys.find_cached(token) is again
    again.loaded_at_s -= 31
    store.away = True
    assert (await refusal(keys, token)).code == "key_store_unavailable"


async def test_where_it_is_so_configured_keys_are_trusted_on_without_news(store: FakePostgres, tasks: Tasks) -> None:
    keys = make(store, tasks, KeysOptions(on_stale="go_on", max_stale_s=30))
    token, _ = store.add()
    found = await keys.find(token)
    found.loaded_at_s -= 1000
    store.stale_s = 1000
    store.away = True
    assert keys.find_cached(token) is found


async def test_the_master_key_is_known_without_the_database(keys: Keys, store: FakePostgres) -> None:
    store.away = True
    found = await keys.find(MASTER)
    assert found.is_master
    assert found.id is None
    for near in (MASTER[:-1], MASTER + "x", MASTER.upper()):
        assert (await refusal(keys, near)).code == "invalid_api_key"


async def test_without_a_master_key_none_is_one(store: FakePostgres, tasks: Tasks) -> None:
    for unset in (None, ""):
        keys = Keys(store, SECRETS, tasks, master_key=unset)  # type: ignore[arg-type]
        assert (await refusal(keys, MASTER)).code == "invalid_api_key"
        assert (await refusal(keys, "")).code == "missing_api_key"


async def test_keys_of_the_secret_before_work_until_it_is_taken_away(store: FakePostgres, tasks: Tasks) -> None:
    token, key_id = store.add()
    new = Secret.parse("the secret that will come tomorrow 1")
    assert (await make(store, tasks, secrets=Secrets(new, SECRET)).find(token)).id == key_id
    assert (await refusal(make(store, tasks, secrets=Secrets(new)), token)).code == "invalid_api_key"
