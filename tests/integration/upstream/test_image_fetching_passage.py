"""A translated request whose images are named by URL, over real sockets: fetched where the provider fetches none."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.upstream.addresses import AddressRule
from gateway.upstream.fetching import Fetcher, FetchLimits
from gateway.upstream.pool import Pool
from gateway.upstream.translation import Translation
from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.dialects import find_dialect
from gateway.wire.inbound import Inbound
from gateway.wire.openai_inbound import OPENAI
from gateway.wire.remote_parts import MAX_REMOTE_PARTS
from tests.integration.upstream.raw import Handler, Peer, answering, serving
from tests.unit.upstream.fakes import FakeJob, FakeLine, Script, target

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 40
DATA = b64encode(PNG).decode()
INLINE = b64encode(b"\x89PNG\r\n\x1a\n another").decode()
INSIDE = AddressRule.of(["127.0.0.1"])
LIMITS = FetchLimits(max_bytes=4000, total_s=5.0)
PICTURE = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n%b" % (len(PNG), PNG)
BY_VALUE = ["gemini", "vertex", "bedrock", "ollama"]
MODELS = {"bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "gemini": "gemini-3-pro-preview"}


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


class Passing:
    """One attempt at a provider with this dialect."""

    def __init__(
        self,
        pool: Pool,
        dialect: str,
        *,
        rule: AddressRule = INSIDE,
        limits: FetchLimits = LIMITS,
        inbound: Any = OPENAI,
    ) -> None:
        self._inbound: Inbound = inbound
        self._fetcher = Fetcher(pool, rule, limits)
        self._passage = Translation(inbound, find_dialect(dialect), self._fetcher.fetch)
        self._target = target(FakeLine(Script()), model=MODELS.get(dialect, "m"))
        self.job: Any = FakeJob([self._target])

    async def send(self, *messages: dict[str, Any]) -> Any:
        """The body that goes out for these messages."""
        self.job.document["messages"] = list(messages)
        before = orjson.dumps(self.job.document)
        await self._passage.prepare(self.job)
        body = orjson.loads(self._passage.encode(self.job, self._target))
        assert orjson.dumps(self.job.document) == before, "the request was changed"
        return body

    async def refuse(self, *messages: dict[str, Any]) -> GatewayError:
        with pytest.raises(GatewayError) as raised:
            await self.send(*messages)
        assert raised.value.status == 400
        return raised.value


def asking(*urls: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": "What is it?"}, *map(picture, urls)]}


def texts(value: Any) -> list[str]:
    """Every text that is a value in `value`, in order."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in texts(one)]


@pytest.mark.parametrize("dialect", BY_VALUE)
async def test_an_image_that_is_named_twice_is_fetched_once_and_goes_out_by_value(pool: Pool, dialect: str) -> None:
    async with serving(answering(PICTURE)) as server:
        url = f"http://{server.origin.name}/cathedral.png?key=s3cret"
        passing = Passing(pool, dialect)
        said = {"role": "assistant", "content": "A cathedral."}
        body = await passing.send(asking(url, f"data:image/png;base64,{INLINE}"), said, asking(url))
        assert len(server.peers) == 1
    assert [text for text in texts(body) if text in (DATA, INLINE)] == [DATA, INLINE, DATA]
    assert b"s3cret" not in orjson.dumps(body)


@pytest.mark.parametrize("dialect", BY_VALUE)
async def test_different_images_are_fetched_each_and_keep_their_places(pool: Pool, dialect: str) -> None:
    other = PNG + b"other"

    async def handler(peer: Peer) -> None:
        found = other if b"GET /other" in await peer.request() else PNG
        head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n"
        await peer.send(head % len(found) + found)

    async with serving(handler) as server:
        urls = [f"http://{server.origin.name}/{name}" for name in ("other", "one")]
        body = await Passing(pool, dialect).send(asking(*urls))
        assert len(server.peers) == 2
    wanted = [b64encode(other).decode(), DATA]
    assert [text for text in texts(body) if text in wanted] == wanted


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [("ai21", "image"), ("palm", "image"), ("ai21", "file"), ("palm", "file"), ("cohere", "file"), ("ollama", "file")],
)
async def test_what_the_provider_takes_in_no_form_is_refused_before_it_is_fetched(
    pool: Pool, dialect: str, kind: str
) -> None:
    async with serving(answering(PICTURE)) as server:
        url = f"http://{server.origin.name}/report"
        part = picture(url) if kind == "image" else {"type": "file", "file": {"file_url": url}}
        error = await Passing(pool, dialect).refuse({"role": "user", "content": [part]})
        assert not server.peers
    assert error.code == "unsupported_parameter"
    assert str(error.param).startswith("messages[0].content[0]")


async def test_an_image_in_a_tools_result_is_fetched_too(pool: Pool) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    async with serving(answering(PICTURE)) as server:
        result = {"role": "tool", "tool_call_id": "call_1", "content": [picture(f"http://{server.origin.name}/a")]}
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        body = await Passing(pool, "bedrock").send(asking(), said, result)
        assert len(server.peers) == 1
    (block,) = body["messages"][2]["content"]
    assert block["toolResult"]["content"] == [{"image": {"format": "png", "source": {"bytes": DATA}}}]


async def test_a_client_of_anthropics_api_has_its_images_fetched_as_well(pool: Pool) -> None:
    async with serving(answering(PICTURE)) as server:
        source = {"type": "url", "url": f"http://{server.origin.name}/a"}
        asked = {
            "model": "m",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}],
        }
        passing = Passing(pool, "gemini", inbound=INBOUND)
        body = await passing.send(*INBOUND.canonical(asked)["messages"])
    assert body["contents"][0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": DATA}}]


@pytest.mark.parametrize("dialect", ["anthropic", "cohere", "huggingface"])
async def test_a_provider_that_fetches_images_itself_gets_the_url(pool: Pool, dialect: str) -> None:
    async with serving(answering(PICTURE)) as server:
        url = f"http://{server.origin.name}/a.png"
        body = await Passing(pool, dialect).send(asking(url))
        assert server.peers == []
    assert texts(body).count(url) == 1


@pytest.mark.parametrize("dialect", BY_VALUE)
async def test_an_address_that_only_the_gateway_can_reach_is_not_fetched_from(pool: Pool, dialect: str) -> None:
    async with serving(answering(PICTURE)) as server:
        passing = Passing(pool, dialect, rule=AddressRule())
        for host in (server.origin.name, f"localhost:{server.origin.name.rpartition(':')[2]}"):
            error = await passing.refuse(asking(f"http://{host}/a.png?key=s3cret"))
            assert error.code == "address_not_allowed"
            assert "s3cret" not in error.message
        assert server.peers == []


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 6\r\n\r\n<html>"


@pytest.mark.parametrize(
    ("limits", "handler", "words"),
    [
        (FetchLimits(max_bytes=len(PNG) - 1), answering(PICTURE), f"larger than {len(PNG) - 1} bytes"),
        (FetchLimits(total_s=0.2), silent, "within 0.2 s"),
        (LIMITS, answering(PAGE), "it is none of"),
        (LIMITS, answering(b"HTTP/1.1 302 Found\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n"), "redirects"),
    ],
)
async def test_an_image_that_cannot_be_had_ends_the_attempt_before_it_is_sent(
    pool: Pool, limits: FetchLimits, handler: Handler, words: str
) -> None:
    async with serving(handler) as server:
        error = await Passing(pool, "gemini", limits=limits).refuse(asking(f"http://{server.origin.name}/a"))
    assert error.code == "invalid_field"
    assert words in error.message
    assert pool.open == 0


async def test_as_large_as_it_may_be_an_image_is_taken(pool: Pool) -> None:
    async with serving(answering(PICTURE)) as server:
        passing = Passing(pool, "ollama", limits=FetchLimits(max_bytes=len(PNG)))
        body = await passing.send(asking(f"http://{server.origin.name}/a"))
    assert body["messages"][0]["images"] == [DATA]


async def test_more_images_than_a_request_may_have_fetched_are_refused_before_the_first(pool: Pool) -> None:
    async with serving(answering(PICTURE)) as server:
        urls = [f"http://{server.origin.name}/{number}" for number in range(MAX_REMOTE_PARTS + 1)]
        error = await Passing(pool, "gemini").refuse(asking(*urls))
        assert server.peers == []
    assert (error.code, error.param) == ("invalid_field", "messages")
