"""The catalogue on a real PostgreSQL: declared, made, changed, heard of by every worker, and sealed."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.providers.registry import PROVIDERS
from gateway.services.catalogue.register import SUBKEY, CatalogueRegister, Surroundings
from gateway.services.catalogue.service import Catalogue
from gateway.services.keys.secret import Secret as GatewaySecret
from gateway.settings import Secret, Settings, resolve
from gateway.store.audit import MASTER
from gateway.store.crypt import Cipher
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks
from gateway.upstream.addresses import AddressRule

NEW = GatewaySecret.parse("the secret that is in force from now").subkey(SUBKEY)
OLD = GatewaySecret.parse("the secret that was in force before").subkey(SUBKEY)
DECLARED: dict[str, Any] = {
    "providers": {"lab": {"type": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": Secret("env", "LAB_KEY")}},
    "models": [
        {
            "name": "small",
            "targets": [{"provider": "lab", "model": "s-1"}],
            "price": {"input_usd_per_mtok": "0.075", "output_usd_per_mtok": "0.3"},
        }
    ],
}
SETTINGS = Settings.model_validate(DECLARED)
OPENAI = {"base_url": "https://llm.example/v1", "api_key": "s3cret-1"}
LARGE = {"name": "large", "targets": [{"provider": "own", "model": "l-1"}]}


class Worker:
    """A catalogue and its register, as one worker has them; `heard` has the time of each change of its snapshot."""

    def __init__(self, postgres: Postgres, tasks: Tasks, *keys: bytes, rule: AddressRule | None = None) -> None:
        self.heard: list[float] = []
        self.settings = SETTINGS
        cipher = Cipher(keys or (NEW,))
        self.catalogue = Catalogue(postgres, cipher, tasks, PROVIDERS, lambda: self.heard.append(time.monotonic()))
        around = Surroundings(lambda: self.settings, PROVIDERS, lambda: rule or AddressRule())
        self.register = CatalogueRegister(postgres, cipher, around, self.catalogue.reload)

    @property
    def keys(self) -> dict[str, str | None]:
        providers = self.catalogue.snapshot().providers
        return {name: resolve(provider.api_key, {}) for name, provider in providers.items()}


MakeWorker = Callable[..., Worker]


@pytest.fixture
async def make_worker(postgres: Postgres) -> AsyncIterator[MakeWorker]:
    tasks = Tasks()

    def make(*keys: bytes, **more: Any) -> Worker:
        return Worker(postgres, tasks, *keys, **more)

    yield make
    await tasks.drain(0)


@pytest.fixture
def worker(make_worker: MakeWorker) -> Worker:
    return make_worker()


async def refusal(work: Awaitable[Any]) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await work
    return raised.value


async def rows(postgres: Postgres, table: str) -> list[dict[str, Any]]:
    found = await postgres.fetch(f"SELECT *, xmin::text AS written_by FROM {table} ORDER BY created_at, id")
    return [dict(row) for row in found]


# --- what is declared -----------------------------------------------------------------------------


async def test_what_is_declared_is_written_down_once(worker: Worker, postgres: Postgres) -> None:
    await worker.catalogue.declare(SETTINGS)
    (provider,), (model,) = await rows(postgres, "llm_providers"), await rows(postgres, "llm_models")
    assert (provider["provider_name"], provider["provider_type"], provider["managed_by"]) == ("lab", "openai", "config")
    assert (provider["api_endpoint"], provider["authentication_type"]) == ("http://127.0.0.1:9/v1", "bearer")
    assert provider["supported_models"] == ["s-1"]
    assert provider["configuration"]["api_key"] == "env:LAB_KEY"
    assert (model["model_name"], model["provider_id"]) == ("small", provider["id"])
    assert model["input_cost_per_token"] == Decimal("0.000000075")
    assert model["configuration"]["targets"][0]["model"] == "s-1"
    await asyncio.gather(*(worker.catalogue.declare(SETTINGS) for _ in range(4)))
    assert [provider] == await rows(postgres, "llm_providers")
    assert [model] == await rows(postgres, "llm_models")
    assert worker.catalogue.snapshot().providers == {}


async def test_the_rows_of_all_that_is_in_use_are_known_by_name_and_a_new_one_is_heard_of(
    worker: Worker, postgres: Postgres
) -> None:
    await worker.catalogue.declare(SETTINGS)
    await worker.catalogue.load()
    (provider,), (model,) = await rows(postgres, "llm_providers"), await rows(postgres, "llm_models")
    ids = worker.catalogue.row_ids()
    assert (ids.providers, ids.models) == ({"lab": str(provider["id"])}, {"small": str(model["id"])})
    await worker.catalogue.load()
    assert len(worker.heard) == 1
    await worker.catalogue.declare(Settings())
    await worker.catalogue.load()
    assert len(worker.heard) == 2
    assert worker.catalogue.row_ids().providers == {}


async def test_what_is_no_longer_declared_is_marked_and_comes_back_as_the_same(
    worker: Worker, postgres: Postgres
) -> None:
    await worker.catalogue.declare(SETTINGS)
    await worker.catalogue.declare(Settings())
    (provider,), (model,) = await rows(postgres, "llm_providers"), await rows(postgres, "llm_models")
    assert provider["deleted_at"] is not None
    assert not provider["enabled"]
    assert model["deleted_at"] is not None
    assert await worker.register.providers() == []
    assert await worker.register.models() == []
    await worker.catalogue.declare(SETTINGS)
    assert [record.id for record in await worker.register.providers()] == [str(provider["id"])]
    assert [record.id for record in await worker.register.models()] == [str(model["id"])]
    assert (await worker.register.providers())[0].enabled


async def test_rows_of_other_services_are_left_alone_until_their_name_is_declared(
    worker: Worker, postgres: Postgres
) -> None:
    await postgres.execute(
        "INSERT INTO llm_providers (provider_name, provider_type) VALUES ('lab', 'x'), ('theirs', 'y')"
    )
    await postgres.execute("INSERT INTO llm_models (model_name) VALUES ('small'), ('small')")
    await worker.catalogue.declare(Settings())
    await worker.catalogue.load()
    assert await worker.register.providers() == []
    assert all(row["deleted_at"] is None for row in await rows(postgres, "llm_providers"))
    await worker.catalogue.declare(SETTINGS)
    assert [record.name for record in await worker.register.providers()] == ["lab"]
    assert len(await rows(postgres, "llm_providers")) == 2
    assert len(await rows(postgres, "llm_models")) == 3


async def test_a_name_that_was_made_and_is_then_declared_is_the_configurations(
    worker: Worker, postgres: Postgres
) -> None:
    worker.settings = Settings()
    record = await worker.register.create_provider("lab", "openai", OPENAI, MASTER)
    await worker.catalogue.declare(SETTINGS)
    await worker.catalogue.load()
    assert worker.catalogue.snapshot().providers == {}
    (provider,) = await rows(postgres, "llm_providers")
    assert (str(provider["id"]), provider["managed_by"], provider["secrets"]) == (record.id, "config", None)


async def test_a_declared_name_too_long_for_its_column_keeps_nothing_from_starting(worker: Worker) -> None:
    long = {**DECLARED, "models": [{**DECLARED["models"][0], "name": "x" * 256}]}
    await worker.catalogue.declare(Settings.model_validate(long))
    assert await worker.register.models() == []


# --- what is made ---------------------------------------------------------------------------------


async def test_a_provider_and_a_model_are_made_changed_and_deleted(worker: Worker, postgres: Postgres) -> None:
    made = await worker.register.create_provider("own", "openai", {**OPENAI, "organization": "org"}, MASTER)
    assert (made.name, made.type, made.base_url, made.managed_by) == ("own", "openai", OPENAI["base_url"], "admin")
    assert made.document == {"api_key": "stored", "organization": "org"}
    assert worker.keys == {"own": "s3cret-1"}
    model = await worker.register.create_model(LARGE, MASTER)
    assert [found.name for found in worker.catalogue.snapshot().models] == ["large"]
    assert (await rows(postgres, "llm_models"))[0]["provider_id"] == uuid.UUID(made.id)

    provider_id, model_id = uuid.UUID(made.id), uuid.UUID(model.id)
    changed = await worker.register.update_provider(provider_id, {"organization": None, "api_key": "s3cret-2"}, MASTER)
    assert changed.document == {"api_key": "stored"}
    assert changed.updated_at > made.updated_at
    assert worker.keys == {"own": "s3cret-2"}
    await worker.register.update_model(model_id, {"aliases": ["big"]}, MASTER)
    assert worker.catalogue.snapshot().models[0].aliases == ("big",)

    await worker.register.update_provider(provider_id, {"enabled": False}, MASTER)
    assert worker.keys == {}
    assert await worker.register.update_model(model_id, {}, MASTER, enabled=False)
    assert worker.catalogue.snapshot().models == ()
    assert (await worker.register.model(model_id)).document["aliases"] == ["big"]

    error = await refusal(worker.register.delete_provider(provider_id, MASTER))
    assert (error.code, error.message) == ("conflict", "The provider 'own' answers for large.")
    await worker.register.delete_model(model_id, MASTER)
    await worker.register.delete_provider(provider_id, MASTER)
    assert await worker.register.providers() == []
    (row,) = await rows(postgres, "llm_providers")
    assert row["secrets"] is None
    for work in (worker.register.provider(provider_id), worker.register.update_provider(provider_id, {}, MASTER)):
        assert (await refusal(work)).code == "not_found"

    again = await worker.register.create_provider("own", "groq", {}, MASTER)
    assert (again.id, again.type, again.document) == (made.id, "groq", {})
    assert (await worker.register.create_model({**LARGE, "aliases": []}, MASTER)).id == model.id


async def test_a_name_is_made_once_by_many_at_once(worker: Worker) -> None:
    results = await asyncio.gather(
        *(worker.register.create_provider("own", "openai", OPENAI, MASTER) for _ in range(6)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, GatewayError)]
    assert [error.code for error in refused] == ["conflict"] * 5
    assert len(await worker.register.providers()) == 1
    models = await asyncio.gather(
        *(worker.register.create_model(LARGE, MASTER) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(result, GatewayError) for result in models) == 5


async def test_what_is_declared_is_read_only(worker: Worker) -> None:
    await worker.catalogue.declare(SETTINGS)
    provider_id = uuid.UUID((await worker.register.providers())[0].id)
    model_id = uuid.UUID((await worker.register.models())[0].id)
    for work in (
        worker.register.update_provider(provider_id, {"enabled": False}, MASTER),
        worker.register.delete_provider(provider_id, MASTER),
        worker.register.update_model(model_id, {}, MASTER, enabled=False),
        worker.register.delete_model(model_id, MASTER),
        worker.register.create_provider("lab", "openai", {}, MASTER),
        worker.register.create_model(
            {**LARGE, "name": "small", "targets": [{"provider": "lab", "model": "x"}]}, MASTER
        ),
    ):
        assert (await refusal(work)).code == "conflict"


@pytest.mark.parametrize(
    ("type", "fields", "code", "param"),
    [
        ("opena", {}, "invalid_field", "type"),
        ("azure", {}, "missing_field", "base_url"),
        ("azure", {"base_url": "https://x.example", "tenant_id": "t"}, "missing_field", "client_id"),
        ("vertex", {"project": "p"}, "missing_field", "credentials"),
        ("bedrock", {"access_key_id": "a"}, "missing_field", "secret_access_key"),
        ("openai", {"base_url": "ftp://a"}, "invalid_field", "base_url"),
        ("openai", {"base_url": "http://127.0.0.1:11434/v1"}, "address_not_allowed", "base_url"),
        ("openai", {"base_url": "http://localhost/v1"}, "address_not_allowed", "base_url"),
        ("openai", {"base_url": "http://x.localhost/v1"}, "address_not_allowed", "base_url"),
        ("openai", {"base_url": "http://[::ffff:10.0.0.1]/v1"}, "address_not_allowed", "base_url"),
        ("openai", {"base_url": "http://169.254.169.254"}, "address_not_allowed", "base_url"),
        ("openai", {"base_url": "http://2130706433/"}, "address_not_allowed", "base_url"),
    ],
)
async def test_a_provider_that_cannot_be_is_refused_and_not_made(
    worker: Worker, postgres: Postgres, type: str, fields: dict[str, Any], code: str, param: str
) -> None:
    error = await refusal(worker.register.create_provider("own", type, fields, MASTER))
    assert (error.code, error.param, error.status) == (code, param, 400)
    assert await rows(postgres, "llm_providers") == []


async def test_the_operators_exceptions_hold_for_what_is_made(make_worker: MakeWorker) -> None:
    worker = make_worker(rule=AddressRule.of(["127.0.0.1", "localhost"]))
    for name, url in (("a", "http://127.0.0.1:11434/v1"), ("b", "http://localhost/v1")):
        await worker.register.create_provider(name, "openai", {"base_url": url}, MASTER)


async def test_secrets_are_not_sent_elsewhere_unless_they_are_given_again(worker: Worker) -> None:
    made = await worker.register.create_provider("own", "openai", {**OPENAI, "headers": {"x-a": "s3cret-h"}}, MASTER)
    provider_id = uuid.UUID(made.id)
    for given in ({}, {"api_key": "s3cret-2"}, {"headers": None}):
        error = await refusal(
            worker.register.update_provider(provider_id, {"base_url": "https://evil.example", **given}, MASTER)
        )
        assert error.code == "missing_field"
    assert worker.catalogue.snapshot().providers["own"].base_url == OPENAI["base_url"]
    moved = {"base_url": "https://new.example", "api_key": "s3cret-2", "headers": None}
    assert (await worker.register.update_provider(provider_id, moved, MASTER)).base_url == "https://new.example"
    assert worker.keys == {"own": "s3cret-2"}


# --- other workers --------------------------------------------------------------------------------


async def test_every_worker_hears_of_a_change_within_250_ms(
    make_worker: MakeWorker, database_url: Mapping[str, Any]
) -> None:
    here, there = make_worker(), make_worker()
    elsewhere = await Postgres.open(database_url)
    try:
        await elsewhere.listen("gateway_changes", there.catalogue.on_change)
        made = await here.register.create_provider("own", "openai", OPENAI, MASTER)
        took_s = []
        for number in range(10):
            there.heard.clear()
            began = time.monotonic()
            await here.register.update_provider(uuid.UUID(made.id), {"api_key": f"s3cret-{number}"}, MASTER)
            async with asyncio.timeout(5):
                while there.keys.get("own") != f"s3cret-{number}":
                    await asyncio.sleep(0.002)
            took_s.append(there.heard[-1] - began)
        assert sorted(took_s)[len(took_s) // 2] < 0.25
        model = await here.register.create_model(LARGE, MASTER)
        async with asyncio.timeout(5):
            while not there.catalogue.snapshot().models:
                await asyncio.sleep(0.002)
        await here.register.delete_model(uuid.UUID(model.id), MASTER)
        async with asyncio.timeout(5):
            while there.catalogue.snapshot().models:
                await asyncio.sleep(0.002)
    finally:
        await elsewhere.close()


async def test_a_change_that_changes_nothing_in_force_is_not_told(worker: Worker, postgres: Postgres) -> None:
    await worker.register.create_provider("own", "openai", OPENAI, MASTER)
    heard = len(worker.heard)
    await worker.register.create_provider("off", "openai", {"enabled": False}, MASTER)
    await postgres.execute("INSERT INTO llm_models (model_name) VALUES ('theirs')")
    await worker.catalogue.reload()
    assert len(worker.heard) == heard


async def test_only_its_own_tables_make_it_read_again(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    async def load() -> None:
        nonlocal reads
        reads += 1

    monkeypatch.setattr(worker.catalogue, "load", load)
    for payload in ("api_keys:x", "teams:reload", "", "llm_providersx:1"):
        worker.catalogue.on_change(payload)
    await asyncio.sleep(0)
    assert reads == 0
    for payload in ("llm_providers:1", "llm_models:reload", "reload"):
        worker.catalogue.on_change(payload)
        await worker.catalogue.reload()
    assert reads >= 3


async def test_a_database_that_is_away_is_asked_until_it_answers(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load, failures = worker.catalogue.load, 2

    async def failing() -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise GatewayError("store_unavailable", "The database is not available.")
        await load()

    monkeypatch.setattr(worker.catalogue, "load", failing)
    await worker.catalogue.reload()
    assert failures < 0
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 2


# --- secrets at rest ------------------------------------------------------------------------------


async def test_no_secret_is_in_the_database(worker: Worker, postgres: Postgres) -> None:
    fields = {
        **OPENAI,
        "headers": {"x-a": "s3cret-h"},
        "credentials": orjson.dumps({"private_key": "s3cret-p"}).decode(),
    }
    await worker.register.create_provider("own", "vertex", fields, MASTER)
    text = await postgres.fetchval("SELECT string_agg(p::text, ' ') FROM llm_providers AS p")
    sealed = await postgres.fetchval("SELECT secrets FROM llm_providers")
    assert "s3cret" not in text
    assert b"s3cret" not in sealed
    assert "own" in text


async def test_one_rows_secrets_do_not_open_in_another(worker: Worker, postgres: Postgres) -> None:
    await worker.register.create_provider("own", "openai", OPENAI, MASTER)
    await worker.register.create_provider("evil", "openai", {"base_url": "https://evil.example"}, MASTER)
    await postgres.execute(
        "UPDATE llm_providers SET secrets = (SELECT secrets FROM llm_providers WHERE provider_name = 'own') "
        "WHERE provider_name = 'evil'"
    )
    await worker.catalogue.load()
    assert worker.keys == {"own": "s3cret-1"}
    assert "another GATEWAY_SECRET_KEY" in worker.catalogue.snapshot().problems["evil"]


async def test_the_secret_before_opens_and_what_it_opened_is_sealed_anew(
    make_worker: MakeWorker, postgres: Postgres
) -> None:
    await make_worker(OLD).register.create_provider("own", "openai", OPENAI, MASTER)
    changing = make_worker(NEW, OLD)
    await changing.catalogue.load()
    assert changing.keys == {"own": "s3cret-1"}
    changed = make_worker(NEW)
    await changed.catalogue.load()
    assert changed.keys == {"own": "s3cret-1"}


async def test_under_another_secret_a_provider_is_left_out_and_cannot_be_changed(make_worker: MakeWorker) -> None:
    record = await make_worker(OLD).register.create_provider("own", "openai", OPENAI, MASTER)
    worker = make_worker(NEW)
    await worker.catalogue.load()
    assert worker.keys == {}
    assert worker.catalogue.snapshot().problems.keys() == {"own"}
    provider_id = uuid.UUID(record.id)
    assert (await refusal(worker.register.update_provider(provider_id, {"enabled": False}, MASTER))).code == "conflict"
    assert (await worker.register.provider(provider_id)).document == {"api_key": "stored"}
    await worker.register.delete_provider(provider_id, MASTER)


async def test_a_row_that_makes_no_sense_keeps_no_other_from_being_used(worker: Worker, postgres: Postgres) -> None:
    await worker.register.create_provider("own", "openai", OPENAI, MASTER)
    await worker.register.create_provider("odd", "openai", {}, MASTER)
    await worker.register.create_model(LARGE, MASTER)
    await postgres.execute("UPDATE llm_providers SET configuration = '{\"colour\": 1}' WHERE provider_name = 'odd'")
    await postgres.execute(
        "INSERT INTO llm_models (model_name, configuration, managed_by) VALUES ('odd', '{\"targets\": 3}', 'admin')"
    )
    await worker.catalogue.load()
    made = worker.catalogue.snapshot()
    assert list(made.providers) == ["own"]
    assert [model.name for model in made.models] == ["large"]
    assert "colour" in made.problems["odd"]
