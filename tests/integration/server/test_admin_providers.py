"""`/admin/providers` and `/admin/models` on a real PostgreSQL and against a provider over real HTTP."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.assembly.in_force import InForce
from gateway.errors import GatewayError
from gateway.pipeline.stages.meter import NoMeter
from gateway.server.admin.request import AdminRequest
from gateway.services.keys.secret import Secret, Secrets
from gateway.services.routing.routes import Routes, Routing
from gateway.settings import Settings
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.pool import Pool
from gateway.upstream.retries import RetryBudget, RetryOptions
from tests.fake_openai import MODELS, FakeOpenAI, fail

SECRETS = Secrets(Secret.parse("the secret that is in force today"))
UNKNOWN = str(uuid.UUID(int=7))
ENVIRON = {"LAB_KEY": "sk-declared", "OPENAI_API_KEY": "sk-the-operators"}
GOOGLE = {"type": "service_account", "private_key": "s3cret", "token_uri": "https://oauth2.googleapis.com/token"}


class Admin:
    """A worker's part of it: `call` asks a handler, `reload` puts other settings in force."""

    def __init__(self, postgres: Postgres, pool: Pool, tasks: Tasks, declared: Settings) -> None:
        self._opened = (postgres, tasks, SECRETS, declared, self._changed)
        self.declared = declared
        self.in_force = InForce(ENVIRON, (), pool)
        self.routing = Routing(Routes({}, (), lambda provider, model: None, ()), random.Random(1))
        options = RetryOptions(attempts=3)
        watcher: Any = None
        self.dispatch = Dispatch(NoMeter(), options, RetryBudget(options, time.monotonic), watcher, random.Random(1))
        self.postgres = postgres

    async def open(self) -> Admin:
        await self.in_force.open(*self._opened)
        self.reload(self.declared)
        self._routes = {
            (method, pattern): handler
            for method, pattern, handler in self.in_force.admin_routes(self.routing, lambda: self.dispatch)
        }
        return self

    def reload(self, declared: Settings) -> None:
        self.declared = declared
        self.routing.routes = self.in_force.build(declared)

    def _changed(self) -> None:
        if hasattr(self, "_routes"):
            self.reload(self.declared)

    async def call(self, method: str, pattern: str, body: object = None, *, id: str = "") -> Any:
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        request = AdminRequest(method, {"id": id}, {}, raw)
        status, payload = await self._routes[method, f"/admin/{pattern}"](request)
        return status, orjson.loads(orjson.dumps(payload))

    async def refused(self, method: str, pattern: str, body: object = None, *, id: str = "") -> GatewayError:
        with pytest.raises(GatewayError) as raised:
            await self.call(method, pattern, body, id=id)
        return raised.value


@dataclass
class Lab:
    """The provider's side. `answers` are bodies to give to a listing, in turn, in place of the usual one."""

    fake: FakeOpenAI
    keys: list[str] = field(default_factory=list)


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI().running() as running:
        yield running


@pytest.fixture
async def admin(postgres: Postgres, fake: FakeOpenAI) -> AsyncIterator[Admin]:
    tasks, pool = Tasks(), Pool()
    declared = Settings.model_validate(
        {
            "security": {"allow_private_upstreams": ["127.0.0.1"]},
            "providers": {"lab": {"type": "openai", "base_url": fake.url, "api_key": "env:LAB_KEY"}},
            "models": [{"name": "small", "targets": [{"provider": "lab", "model": "gpt-4o-mini"}]}],
        }
    )
    yield await Admin(postgres, pool, tasks, declared).open()
    await tasks.drain(0)
    await pool.close()


async def declared_id(admin: Admin, what: str) -> str:
    _, listed = await admin.call("GET", what)
    found: str = next(one["id"] for one in listed["data"] if one["managed_by"] == "config")
    return found


async def test_a_provider_is_made_used_shown_changed_tried_and_deleted(admin: Admin, fake: FakeOpenAI) -> None:
    body = {
        "name": "own",
        "type": "openai",
        "base_url": fake.url,
        "api_keys": [{"key": "sk-first", "weight": 3}, {"key": "sk-second"}],
        "headers": {"x-team": "s3cret-team"},
        "timeouts": {"connect_s": 2},
    }
    status, made = await admin.call("POST", "providers", body)
    assert status == 201
    assert made["api_keys"] == [{"key": "stored", "weight": 3.0}, {"key": "stored", "weight": 1.0}]
    assert made["headers"] == {"x-team": "stored"}
    assert (made["object"], made["managed_by"], made["in_force"], made["problem"]) == ("provider", "admin", True, None)
    assert [(key["label"], key["state"]) for key in made["keys"]] == [("key 1", "ok"), ("key 2", "ok")]
    assert not any(secret in str(made) for secret in ("sk-", "s3cret"))
    assert await admin.call("GET", "providers/{id}", id=made["id"]) == (200, made)

    status, model = await admin.call(
        "POST", "models", {"name": "large", "targets": [{"provider": "own", "model": "gpt-4o-mini"}]}
    )
    assert (status, model["in_force"], model["targets"][0]["provider"]) == (201, True, "own")
    assert admin.routing.routes.find("large") is not None
    _, listed = await admin.call("GET", "models")
    assert [(one["name"], one["managed_by"]) for one in listed["data"]] == [("large", "admin"), ("small", "config")]

    status, tried = await admin.call("POST", "providers/{id}/test", id=made["id"])
    assert status == 200
    assert (tried["ok"], tried["call"], tried["model"], tried["status"], tried["error"]) == (
        True,
        "chat",
        "gpt-4o-mini",
        200,
        None,
    )
    assert tried["latency_ms"] > 0
    sent = fake.received[-1]
    assert sent.headers["Authorization"] in ("Bearer sk-first", "Bearer sk-second")
    assert sent.headers["x-team"] == "s3cret-team"
    assert sent.json["model"] == "gpt-4o-mini"
    assert 0 < sent.json["max_completion_tokens"] <= 64

    status, changed = await admin.call("PATCH", "providers/{id}", {"headers": None, "enabled": False}, id=made["id"])
    assert (status, changed["enabled"], changed["in_force"]) == (200, False, False)
    assert "headers" not in changed
    assert admin.routing.routes.find("large") is None
    _, shown = await admin.call("GET", "models/{id}", id=model["id"])
    assert (shown["in_force"], shown["problem"]) == (False, "none of its providers is in force")
    error = await admin.refused("POST", "providers/{id}/test", id=made["id"])
    assert (error.code, error.message) == ("conflict", "The provider 'own' is not in force: it is disabled.")

    assert (await admin.refused("DELETE", "providers/{id}", id=made["id"])).code == "conflict"
    _, gone = await admin.call("DELETE", "models/{id}", id=model["id"])
    assert gone["deleted"]
    _, gone = await admin.call("DELETE", "providers/{id}", id=made["id"])
    assert gone["deleted"]
    assert (await admin.refused("GET", "providers/{id}", id=made["id"])).status == 404
    _, listed = await admin.call("GET", "providers")
    assert [one["name"] for one in listed["data"]] == ["lab"]


async def test_what_is_declared_is_shown_and_read_only(admin: Admin) -> None:
    provider, model = await declared_id(admin, "providers"), await declared_id(admin, "models")
    _, shown = await admin.call("GET", "providers/{id}", id=provider)
    assert (shown["managed_by"], shown["api_key"], shown["in_force"]) == ("config", "env:LAB_KEY", True)
    assert shown["keys"][0]["label"] == "env:LAB_KEY"
    assert "sk-declared" not in str(shown)
    for method, pattern, body, id in (
        ("PATCH", "providers/{id}", {"enabled": False}, provider),
        ("DELETE", "providers/{id}", None, provider),
        ("PATCH", "models/{id}", {"enabled": False}, model),
        ("DELETE", "models/{id}", None, model),
    ):
        error = await admin.refused(method, pattern, body, id=id)
        assert (error.code, error.status) == ("conflict", 409)
        assert "configuration" in error.message


async def test_a_declared_provider_is_tried_and_its_models_are_listed(admin: Admin, fake: FakeOpenAI) -> None:
    provider = await declared_id(admin, "providers")
    _, tried = await admin.call("POST", "providers/{id}/test", {"model": "other"}, id=provider)
    assert (tried["ok"], tried["model"]) == (True, "other")
    assert fake.received[-1].json["model"] == "other"
    _, listed = await admin.call("GET", "providers/{id}/models", id=provider)
    assert [one["id"] for one in listed["data"]] == sorted(MODELS)
    assert fake.received[-1].headers["Authorization"] == "Bearer sk-declared"


async def test_without_a_model_the_cheap_call_is_the_listing(admin: Admin, fake: FakeOpenAI) -> None:
    _, made = await admin.call("POST", "providers", {"name": "own", "type": "openai", "base_url": fake.url})
    _, tried = await admin.call("POST", "providers/{id}/test", id=made["id"])
    assert (tried["ok"], tried["call"], tried["model"]) == (True, "models", None)
    # And never with a key of the operator's own.
    assert "Authorization" not in fake.received[-1].headers


async def test_a_trial_that_fails_says_how_once_and_without_secrets(admin: Admin, fake: FakeOpenAI) -> None:
    async def quoting(request: web.Request) -> web.Response:
        error = {"message": f"you sent {request.headers['Authorization']}", "type": "invalid_request_error"}
        return web.json_response({"error": error}, status=400)

    _, made = await admin.call(
        "POST", "providers", {"name": "own", "type": "openai", "base_url": fake.url, "api_key": "sk-own-s3cret"}
    )
    for fault, status, code in ((fail(500), 502, "upstream_5xx"), (fail(401), 502, "upstream_auth")):
        before = len(fake.received)
        fake.faults.append(fault)
        _, tried = await admin.call("POST", "providers/{id}/test", {"model": "m"}, id=made["id"])
        assert (tried["ok"], tried["status"], tried["error"]["code"]) == (False, status, code)
        assert len(fake.received) == before + 1
    fake.faults.append(quoting)
    _, tried = await admin.call("POST", "providers/{id}/test", {"model": "m"}, id=made["id"])
    assert tried["error"]["code"] == "upstream_4xx"
    assert "s3cret" not in str(tried)
    fake.faults.append(quoting)
    error = await admin.refused("GET", "providers/{id}/models", id=made["id"])
    assert error.status == 400
    assert "s3cret" not in error.message
    assert error.raw is None


async def test_a_trial_is_made_whatever_the_breaker_says_and_leaves_it_alone(admin: Admin) -> None:
    route = admin.routing.routes.find("small")
    assert route is not None
    breaker = route.targets[0].breaker
    while not breaker.refuses():
        breaker.fail(breaker.allow())
    _, tried = await admin.call("POST", "providers/{id}/test", id=await declared_id(admin, "providers"))
    assert tried["ok"]
    assert breaker.refuses()


async def test_a_name_that_leads_inside_is_refused_at_the_connection(admin: Admin, fake: FakeOpenAI) -> None:
    admin.reload(admin.declared.model_copy(update={"security": Settings().security}))
    port = fake.url.partition("127.0.0.1:")[2].partition("/")[0]
    error = await admin.refused("POST", "providers", {"name": "a", "type": "openai", "base_url": fake.url})
    assert (error.code, error.status, error.param) == ("address_not_allowed", 400, "base_url")
    # One that is a name only when it is looked up.
    _, made = await admin.call(
        "POST", "providers", {"name": "b", "type": "openai", "base_url": f"http://0x7f000001:{port}/v1"}
    )
    _, tried = await admin.call("POST", "providers/{id}/test", {"model": "m"}, id=made["id"])
    assert tried["error"]["code"] == "address_not_allowed"
    assert (await admin.refused("GET", "providers/{id}/models", id=made["id"])).code == "address_not_allowed"
    # What the configuration declares may lead anywhere.
    _, tried = await admin.call("POST", "providers/{id}/test", id=await declared_id(admin, "providers"))
    assert tried["ok"]
    assert len(fake.received) == 1


async def test_changing_the_address_demands_the_secret_again(admin: Admin, fake: FakeOpenAI) -> None:
    _, made = await admin.call(
        "POST", "providers", {"name": "own", "type": "openai", "base_url": fake.url, "api_key": "sk-a"}
    )
    elsewhere = {"base_url": "https://evil.example/v1"}
    error = await admin.refused("PATCH", "providers/{id}", elsewhere, id=made["id"])
    assert (error.code, error.param) == ("missing_field", "api_key")
    _, after = await admin.call("GET", "providers/{id}", id=made["id"])
    assert after == made
    status, _ = await admin.call("PATCH", "providers/{id}", {**elsewhere, "api_key": "sk-b"}, id=made["id"])
    assert status == 200


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "name", "missing"),
        ({"type": None}, "type", "valid string"),
        ({"type": "opena"}, "type", "did you mean `openai`?"),
        ({"name": "a/b"}, "name", "pattern"),
        ({"name": "lab"}, "name", "already"),
        ({"base_url": "ftp://a"}, "base_url", "URL"),
        ({"base_url": "https://u:s3cret@a"}, "base_url", "user name"),
        ({"base_url": "http://169.254.169.254/"}, "base_url", "cloud metadata"),
        ({"api_key": "env:OPENAI_API_KEY"}, "api_key", "give the secret itself"),
        ({"api_key": "file:/etc/passwd"}, "api_key", "give the secret itself"),
        ({"api_key": "none"}, "api_key", "give the secret itself"),
        ({"api_key": "s3cret\nx: y"}, "api_key", "printable ASCII"),
        ({"api_key": "s3cret-ключ"}, "api_key", "printable ASCII"),
        ({"api_key": ""}, "api_key", "at least 1"),
        ({"api_key": 5}, "api_key", "valid string"),
        ({"api_keys": [{"key": "env:X"}]}, "api_keys.0.key", "give the secret itself"),
        ({"api_keys": [{"key": "s3cret", "weight": 0}]}, "api_keys.0.weight", "greater than 0"),
        ({"api_key": "a", "api_keys": [{"key": "s3cret"}]}, None, "exclude each other"),
        ({"headers": {"x-a": "env:HOME"}}, "headers.x-a", "give the secret itself"),
        ({"headers": {"host": "a"}}, "headers", "connection"),
        ({"region": "evil.example/#"}, "region", "pattern"),
        ({"region": "a@b"}, "region", "pattern"),
        ({"unsupported": ["colour"]}, "unsupported", "no such field"),
        ({"rename": {"colour": "x"}}, "rename", "no such field"),
        ({"lacking": {"top_k": "emulate"}}, "lacking.top_k", "drop"),
        ({"timeouts": {"connect_s": -1}}, "timeouts.connect_s", "greater than 0"),
        ({"timeouts": {"connect": 1}}, "timeouts.connect", ""),
        (
            {"credentials": '{"type": "external_account", "credential_source": {"file": "/etc/passwd"}}'},
            "credentials",
            "",
        ),
        (
            {"credentials": orjson.dumps({**GOOGLE, "token_uri": "https://evil.example"}).decode()},
            "credentials",
            "token_uri",
        ),
        ({"credentials": "s3cret"}, "credentials", "service account"),
        ({"ca_file": "/etc/ssl"}, "ca_file", "no such field"),
        ({"proxy": "http://evil.example:3128"}, "proxy", "no such field"),
        ({"enabled": None}, "enabled", "valid boolean"),
    ],
)
async def test_a_provider_that_cannot_be_is_refused_and_not_made(
    admin: Admin, body: dict[str, Any], param: str | None, words: str
) -> None:
    least = {"name": "own", "type": "openai"} if body else {}
    error = await admin.refused("POST", "providers", {**least, **body})
    assert error.status == (409 if body == {"name": "lab"} else 400)
    assert error.param == param
    assert words in error.message
    assert "s3cret" not in error.message
    _, listed = await admin.call("GET", "providers")
    assert [one["name"] for one in listed["data"]] == ["lab"]


async def test_a_google_key_is_kept_as_one_line(admin: Admin) -> None:
    text = orjson.dumps(GOOGLE, option=orjson.OPT_INDENT_2).decode()
    status, made = await admin.call("POST", "providers", {"name": "own", "type": "vertex", "credentials": text})
    assert (status, made["credentials"]) == (201, "stored")
    provider = admin.in_force.settings.providers["own"]
    assert provider.credentials is not None
    assert orjson.loads(provider.credentials.name) == GOOGLE


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"targets": []}, "targets", "at least 1"),
        ({"targets": [{"provider": "lbb", "model": "m"}]}, "targets.0.provider", "did you mean lab?"),
        ({"targets": [{"provider": "lab"}]}, "targets.0.model", "missing"),
        ({"targets": [{"provider": "lab", "model": "m", "weight": -1}]}, "targets.0.weight", "greater than 0"),
        ({"targets": [{"provider": "lab", "model": "m", "colour": 1}]}, "targets.0.colour", ""),
        ({"targets": [5]}, "targets.0", ""),
        ({"name": "auto"}, "name", "reserved"),
        ({"name": "small"}, "name", "already"),
        ({"name": "x" * 256}, "name", "at most 255"),
        ({"aliases": ["small"]}, "aliases.0", "already taken"),
        ({"context_fallbacks": ["nobody"]}, "context_fallbacks.0", "no model"),
        ({"price": {"input_usd_per_mtok": -1, "output_usd_per_mtok": 1}}, "price.input_usd_per_mtok", "greater"),
        ({"price": {"input_usd_per_mtok": 1}}, "price.output_usd_per_mtok", "missing"),
        ({"max_tokens": 0}, "max_tokens", "greater"),
        ({"colour": 1}, "colour", "no such field"),
    ],
)
async def test_a_model_that_cannot_be_is_refused_and_not_made(
    admin: Admin, body: dict[str, Any], param: str, words: str
) -> None:
    least = {"name": "large", "targets": [{"provider": "lab", "model": "m"}]}
    error = await admin.refused("POST", "models", {**least, **body})
    assert error.status == (409 if body == {"name": "small"} else 400)
    assert error.param == param
    assert words in error.message
    _, listed = await admin.call("GET", "models")
    assert [one["name"] for one in listed["data"]] == ["small"]


async def test_a_model_is_changed_field_by_field(admin: Admin) -> None:
    price = {"input_usd_per_mtok": 0.15, "output_usd_per_mtok": "0.6"}
    _, made = await admin.call(
        "POST",
        "models",
        {"name": "large", "targets": [{"provider": "lab", "model": "m"}], "aliases": ["big"], "price": price},
    )
    assert made["price"] == {"input_usd_per_mtok": "0.15", "output_usd_per_mtok": "0.6"}
    assert admin.routing.routes.find("big") is not None
    _, changed = await admin.call(
        "PATCH", "models/{id}", {"aliases": None, "context_fallbacks": ["small"]}, id=made["id"]
    )
    assert changed["context_fallbacks"] == ["small"]
    assert "aliases" not in changed
    assert changed["price"] == made["price"]
    assert admin.routing.routes.find("big") is None
    _, changed = await admin.call("PATCH", "models/{id}", {"enabled": False}, id=made["id"])
    assert (changed["enabled"], changed["in_force"]) == (False, False)
    assert admin.routing.routes.find("large") is None


@pytest.mark.parametrize("what", ["providers", "models"])
@pytest.mark.parametrize("row_id", [UNKNOWN, "", "1", "\0", "é" * 40, UNKNOWN.replace("-", "")])
async def test_an_unknown_or_impossible_id_is_not_found(admin: Admin, what: str, row_id: str) -> None:
    for method, body in (("GET", None), ("PATCH", {"enabled": True}), ("DELETE", None)):
        error = await admin.refused(method, f"{what}/{{id}}", body, id=row_id)
        assert (error.code, error.status) == ("not_found", 404)
    if what == "providers":
        for method, pattern in (("POST", "providers/{id}/test"), ("GET", "providers/{id}/models")):
            assert (await admin.refused(method, pattern, id=row_id)).code == "not_found"


@pytest.mark.parametrize("body", [{}, b"{", b"[]", {"name": "x"}, {"type": "groq"}])
async def test_a_change_that_cannot_be_is_refused(admin: Admin, body: object) -> None:
    _, made = await admin.call("POST", "providers", {"name": "own", "type": "openai"})
    assert (await admin.refused("PATCH", "providers/{id}", body, id=made["id"])).status == 400


async def test_a_reload_that_declares_its_name_takes_a_provider_over(admin: Admin) -> None:
    _, made = await admin.call("POST", "providers", {"name": "own", "type": "groq", "api_key": "sk-a"})
    lab = admin.declared.providers["lab"]
    admin.reload(admin.declared.model_copy(update={"providers": {"lab": lab, "own": lab}}))
    _, shown = await admin.call("GET", "providers/{id}", id=made["id"])
    assert shown["problem"] == "the configuration declares a provider of this name"
    await admin.in_force.catalogue.declare(admin.declared)
    _, shown = await admin.call("GET", "providers/{id}", id=made["id"])
    assert (shown["managed_by"], shown["type"], shown["api_key"]) == ("config", "openai", "env:LAB_KEY")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
provider_fields = ("name", "base_url", "api_key", "api_keys", "headers", "rename", "unsupported", "timeouts", "region")
model_fields = ("name", "targets", "aliases", "price", "lacking", "max_tokens", "timeouts", "enabled")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(provider_fields), json_values, max_size=4),
    st.dictionaries(st.sampled_from(model_fields), json_values, max_size=4),
)
async def test_any_json_is_made_or_refused(admin: Admin, provider: dict[str, Any], model: dict[str, Any]) -> None:
    least = {"name": f"p{uuid.uuid4().hex}", "type": "openai"}
    least_model = {"name": f"m{uuid.uuid4().hex}", "targets": [{"provider": "lab", "model": "m"}]}
    for pattern, body in (("providers", {**least, **provider}), ("models", {**least_model, **model})):
        try:
            status, _ = await admin.call("POST", pattern, body)
        except GatewayError as error:
            status = error.status
        assert status in (201, 400, 409)
