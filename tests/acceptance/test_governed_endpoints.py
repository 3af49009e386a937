"""Limits and budgets on every kind of endpoint, by a gateway that serves."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.served import call
from tests.fake_openai import FakeOpenAI

_PRICE = "price: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 10.0}"
_CONFIG = f"""
server: {{drain_grace_s: 0.1, drain_timeout_s: 5}}
ledger: {{copy_interval_ms: 50}}
passthrough: {{provider: fake}}
providers:
  fake: {{type: openai, base_url: "URL", api_key: none}}
  chats: {{type: vllm, base_url: "URL", api_key: none}}
models:
  - {{name: chat, aliases: [chatty], targets: [{{provider: fake, model: up}}], {_PRICE}}}
  - {{name: via-chat, targets: [{{provider: chats, model: up}}], {_PRICE}}}
  - {{name: text, targets: [{{provider: fake, model: up-text}}], {_PRICE}}}
  - {{name: vectors, targets: [{{provider: fake, model: up-vectors}}], {_PRICE}}}
  - {{name: omni-moderation-latest, targets: [{{provider: fake, model: omni-moderation-latest}}]}}
  - {{name: whisper-1, targets: [{{provider: fake, model: whisper-1}}]}}
  - {{name: tts-1, targets: [{{provider: fake, model: tts-1}}]}}
"""
_HELLO = [{"role": "user", "content": "hello"}]
_FORM = (
    b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
)
_BATCH = {"input_file_id": "FILE", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
# Path and body of a request to each kind of endpoint.
ASKS: dict[str, tuple[str, Any]] = {
    "chat": ("/v1/chat/completions", {"model": "chat", "messages": _HELLO}),
    "stream": ("/v1/chat/completions", {"model": "chat", "messages": _HELLO, "stream": True}),
    "completions": ("/v1/completions", {"model": "text", "prompt": "hello"}),
    "embeddings": ("/v1/embeddings", {"model": "vectors", "input": "hello"}),
    "messages": ("/v1/messages", {"model": "chat", "max_tokens": 9000, "messages": _HELLO}),
    "count_tokens": ("/v1/messages/count_tokens", {"model": "chat", "messages": _HELLO}),
    "responses": ("/v1/responses", {"model": "chat", "input": "hello"}),
    "responses, streamed": ("/v1/responses", {"model": "chat", "input": "hello", "stream": True}),
    "responses by chat": ("/v1/responses", {"model": "via-chat", "input": "hello"}),
    "moderations": ("/v1/moderations", {"model": "omni-moderation-latest", "input": "hello"}),
    "images": ("/v1/images/generations", {"prompt": "a cat"}),
    "speech": ("/v1/audio/speech", {"model": "tts-1", "input": "hello", "voice": "alloy"}),
    "transcription": ("/v1/audio/transcriptions", _FORM),
    "files": ("/v1/files", None),
    "batches": ("/v1/batches", _BATCH),
}
_CAPPED = {
    "chat": "max_tokens",
    "stream": "max_tokens",
    "completions": "max_tokens",
    "messages": "max_tokens",
    "responses": "max_output_tokens",
    "responses, streamed": "max_output_tokens",
    "responses by chat": "max_tokens",
}
_UNBOUNDED = {"images": "/v1/images", "speech": "/v1/audio", "transcription": "/v1/audio", "batches": "/v1/batches"}
_ENDPOINTS = ["default", "files", "batches"]


@dataclass
class Governed:
    """A gateway of one worker, and its upstream in this process."""

    gateway: GatewayProcess
    fake: FakeOpenAI

    def make_key(self, **limits: Any) -> dict[str, Any]:
        """A key that may use every endpoint, with `limits`."""
        made = self.admin("/admin/keys", {"name": "t", "endpoints": _ENDPOINTS})
        if limits:
            self.admin("/admin/limits", {"scope": "key", "subject": made["id"], **limits})
        return made

    def make_paid_key(self, limit_usd: str, **fields: Any) -> str:
        """The secret of a key with a hard budget."""
        made = self.make_key()
        budget = {"scope": "key", "subject": made["id"], "period": "total", "limit_usd": limit_usd, **fields}
        self.admin("/admin/budgets", budget)
        secret: str = made["key"]
        return secret

    def admin(self, path: str, document: Any) -> dict[str, Any]:
        """What the admin API made."""
        status, _, made = call("POST", self.gateway.url + path, document, MASTER_KEY)
        assert status in (200, 201), made
        found: dict[str, Any] = made
        return found

    def ask(self, what: str, key: str) -> tuple[int, dict[str, str], Any]:
        """One request of a kind."""
        path, body = ASKS[what]
        if body is None:
            return call("GET", self.gateway.url + path, None, key)
        if body is _BATCH:
            return call("POST", self.gateway.url + path, {**_BATCH, "input_file_id": self._upload(key)}, key)
        if body is _FORM:
            return form(self.gateway.url + path, _FORM, key)
        return call("POST", self.gateway.url + path, body, key)

    def _upload(self, key: str) -> str:
        text = _FORM.replace(b'"model"', b'"purpose"').replace(b"whisper-1", b"batch")
        status, _, made = form(self.gateway.url + "/v1/files", text, key)
        return str(made["id"]) if status == 200 else "file-none"


def form(url: str, body: bytes, key: str) -> tuple[int, dict[str, str], Any]:
    """Send a form."""
    headers = {"authorization": f"Bearer {key}", "content-type": "multipart/form-data; boundary=b"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, found, data = answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, found, data = error.code, dict(error.headers), error.read()
    return status, {name.lower(): value for name, value in found.items()}, orjson.loads(data)


@pytest.fixture(scope="module")
def governed() -> Iterator[Governed]:
    folder = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    fake, loop, up = FakeOpenAI(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        async with fake.running():
            up.set()
            await stopped.wait()

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    up.wait(10)
    config = folder / "gateway.yaml"
    config.write_text(_CONFIG.replace("URL", fake.url))
    try:
        with gateway(folder / "home", config) as running:
            yield Governed(running, fake)
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def received(governed: Governed) -> Callable[[], Any]:
    """The last document that the upstream got since the test began, None if it got nothing."""
    before = len(governed.fake.received)

    def last() -> Any:
        seen = governed.fake.received[before:]
        return seen[-1].json if seen else None

    return last


@pytest.mark.parametrize("what", ASKS)
def test_every_answer_shows_the_callers_limits_once(governed: Governed, what: str) -> None:
    key = governed.make_key(requests_per_day=1000, tokens_per_day=100_000, max_concurrency=1)["key"]
    for _ in range(2):
        status, headers, body = governed.ask(what, key)
        assert status == 200, body
    asked = 4 if what == "batches" else 2  # a batch's file is uploaded first
    assert headers["x-ratelimit-limit-requests"] == "1000"
    assert headers["x-ratelimit-remaining-requests"] == str(1000 - asked)
    assert "x-ratelimit-reset-requests" in headers
    if what not in ("files", "count_tokens"):  # nobody's tokens are used
        assert headers["x-ratelimit-limit-tokens"] == "100000"


@pytest.mark.parametrize("what", ASKS)
def test_every_endpoint_refuses_who_may_ask_nothing_and_says_why(
    governed: Governed, received: Callable[[], Any], what: str
) -> None:
    key = governed.make_key(requests_per_day=0)["key"]
    status, headers, body = governed.ask(what, key)
    assert status == 429
    assert "0 requests per day of this API key" in body["error"]["message"]
    assert body["error"].get("code", "rate_limit_exceeded") == "rate_limit_exceeded"
    assert int(headers["retry-after"]) <= 86_400
    assert headers["x-ratelimit-limit-requests"] == "0"
    assert received() is None


def test_what_is_passed_through_counts_among_the_requests_at_once(governed: Governed) -> None:
    key = governed.make_key(max_concurrency=1)["key"]
    governed.fake.pause_s = 0.3
    try:
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: governed.ask("responses, streamed", key), range(2)))
    finally:
        governed.fake.pause_s = 0.0
    assert sorted(answer[0] for answer in answers) == [200, 429]
    refused = max(answers, key=lambda answer: answer[0])
    assert refused[2]["error"]["code"] == "concurrency_limit_exceeded"
    assert governed.ask("responses, streamed", key)[0] == 200


@pytest.mark.parametrize("what", _CAPPED)
def test_a_hard_budgets_cap_reaches_the_provider_by_every_api(
    governed: Governed, received: Callable[[], Any], what: str
) -> None:
    status, headers, body = governed.ask(what, governed.make_paid_key("0.02"))
    assert status == 200, body
    sent = received()
    assert 16 <= sent[_CAPPED[what]] < 2000
    assert headers["x-gateway-max-tokens-clamped"] == str(sent[_CAPPED[what]])


@pytest.mark.parametrize("what", _UNBOUNDED)
def test_what_cannot_be_bounded_needs_the_budgets_leave(
    governed: Governed, received: Callable[[], Any], what: str
) -> None:
    if what != "batches":  # whose file may be uploaded
        status, _, body = governed.ask(what, governed.make_paid_key("1.00"))
        assert (status, body["error"]["code"], body["error"]["param"]) == (400, "budget_unbounded", _UNBOUNDED[what])
        assert received() is None
    key = governed.make_paid_key("1.00", unbounded_usd="0.60")
    answers = [governed.ask(what, key) for _ in range(2)]
    assert [answer[0] for answer in answers] == [200, 429]  # nobody can tell what the first has cost
    assert answers[1][2]["error"]["code"] == "insufficient_quota"
    assert answers[1][1]["x-should-retry"] == "false"


@pytest.mark.parametrize("what", ["moderations", "embeddings", "files", "count_tokens"])
def test_what_costs_little_or_nothing_goes_on_under_a_small_hard_budget(governed: Governed, what: str) -> None:
    key = governed.make_paid_key("0.001")
    assert [governed.ask(what, key)[0] for _ in range(3)] == [200] * 3


def test_an_idempotent_replay_costs_nothing_and_shows_the_limits_of_now(governed: Governed) -> None:
    made = governed.make_key(requests_per_day=10, tokens_per_day=100_000)
    url = governed.gateway.url + "/v1/chat/completions"
    body = orjson.dumps(ASKS["chat"][1])
    seen = []
    for _ in range(2):
        headers = {"authorization": f"Bearer {made['key']}", "content-type": "application/json"}
        request = urllib.request.Request(url, body, {**headers, "Idempotency-Key": "once"}, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            seen.append((answer.headers, answer.read()))
    (first, said), (second, said_again) = seen
    assert said == said_again
    assert second["x-gateway-idempotent-replay"] == "true"
    assert [one.get_all("x-ratelimit-remaining-requests") for one in (first, second)] == [["9"], ["8"]]
    assert second["x-gateway-cost-usd"] == "0.000000000"


def test_a_rotated_key_goes_on_with_the_old_ones_limits_and_budget(governed: Governed) -> None:
    made = governed.make_key(requests_per_day=2)
    place = {"scope": "key", "subject": made["id"], "period": "total"}
    budget = governed.admin("/admin/budgets", {**place, "limit_usd": "0.05"})
    assert governed.ask("chat", made["key"])[0] == 200
    rotated = governed.admin(f"/admin/keys/{made['id']}/rotate", {})
    status, headers, _ = governed.ask("chat", rotated["key"])
    assert status == 200
    assert "x-gateway-max-tokens-clamped" not in headers
    assert governed.ask("chat", rotated["key"])[0] == 429
    used = call("GET", f"{governed.gateway.url}/admin/budgets/{budget['id']}", None, MASTER_KEY)[2]
    assert used["id"] == budget["id"]


def test_a_models_limit_holds_whatever_name_it_is_asked_by(governed: Governed) -> None:
    team = governed.admin("/admin/teams", {"name": "one model a day"})
    key = governed.admin("/admin/keys", {"name": "t", "team": "one model a day"})["key"]
    limit = {"scope": "team", "subject": team["id"], "model": "chat", "requests_per_day": 1}
    governed.admin("/admin/limits", limit)
    url = governed.gateway.url + "/v1/"
    answers = [
        call("POST", url + "responses", {"model": name, "input": "hello"}, key)[0] for name in ("chatty", "chat")
    ]
    answers.append(call("POST", url + "chat/completions", {"model": "chatty", "messages": _HELLO}, key)[0])
    assert answers == [200, 429, 429]


def test_the_metrics_show_how_it_was_decided(governed: Governed) -> None:
    key = governed.make_key(requests_per_day=100_000)["key"]
    before, waits = decisions(governed), counted(governed, "gateway_store_waits_total")
    assert {governed.ask("chat", key)[0] for _ in range(40)} == {200}
    after = decisions(governed)
    now = counted(governed, "gateway_store_waits_total")
    waited, untouched = now["yes"] - waits["yes"], now["no"] - waits["no"]
    assert waited + untouched == 40
    assert untouched >= 30
    leased, asked = after["leased"] - before["leased"], after["asked"] - before["asked"]
    assert leased + asked == 40
    assert leased >= 30
    text = metrics(governed)
    assert 'gateway_limit_refusals_total{scope="key"}' in text
    assert "gateway_reservation_exceeded_total 0.0" in text
    assert "gateway_quota_away_seconds 0.0" in text
    assert float(text.split("\ngateway_budget_clamped_total ")[1].split()[0]) > 0


def metrics(governed: Governed) -> str:
    data: bytes = call("GET", governed.gateway.url + "/metrics")[2]
    return data.decode()


def decisions(governed: Governed) -> dict[str, float]:
    """Decisions by `how`."""
    return counted(governed, "gateway_quota_decisions_total")


def counted(governed: Governed, name: str) -> dict[str, float]:
    """The series of a counter with one label, by its value."""
    start = name + "{"
    lines = [line for line in metrics(governed).splitlines() if line.startswith(start)]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def test_a_key_is_shown_its_own_limits_and_budgets(governed: Governed) -> None:
    made = governed.make_key(requests_per_day=1000, max_concurrency=3)
    governed.admin("/admin/budgets", {"scope": "key", "subject": made["id"], "period": "month", "limit_usd": 2})
    status, _, shown = call("GET", governed.gateway.url + "/v1/key", key=made["key"])
    assert status == 200
    assert shown["limits"] == [{"scope": "key", "requests_per_day": 1000, "max_concurrency": 3}]
    (budget,) = shown["budgets"]
    assert (budget["limit_usd"], budget["spent_usd"], budget["left_usd"], budget["hard"]) == (2.0, 0.0, 2.0, True)
    assert budget["ends_at"].endswith("Z")
