"""A small OpenAI-like provider over real HTTP, for tests: deterministic, and it remembers what it received.

It has what llmock lacks (completions, moderations, audio, image edits, file lists, fine-tuning, stored and
streamed responses, models) beside the rest. `FakeOpenAI.received` holds every request, `faults` what to do to the
next ones instead of answering, `python -m tests.fake_openai PORT` runs it as a process of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiohttp import web

from tests.fake_openai_answers import AUDIO, MODELS, PNG, RATE_HEADERS, SEEN, Answering, Received, json_response

__all__ = ["AUDIO", "MODELS", "PNG", "FakeOpenAI", "Received", "cut_after", "fail"]

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeOpenAI(Answering):
    """State of one server. `pause_s` is waited between the pieces of streams and downloads."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.faults: deque[Fault] = deque()
        self.objects: dict[str, dict[str, dict[str, Any]]] = {
            "file": {},
            "batch": {},
            "job": {},
            "response": {},
            "upload": {},
        }
        self.contents: dict[str, bytes] = {}
        self.pause_s = 0.0
        self.download_bytes = 0
        self.url = ""

    # --- plumbing -------------------------------------------------------------------------------

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=1 << 30, middlewares=[self._record])
        app.add_routes(
            [
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completions),
                web.post("/v1/embeddings", self._embeddings),
                web.post("/v1/moderations", self._moderations),
                web.post("/v1/images/{kind:generations|edits|variations}", self._images),
                web.post("/v1/audio/speech", self._speech),
                web.post("/v1/audio/{kind:transcriptions|translations}", self._transcribe),
                web.post("/v1/files", self._make_file),
                web.get("/v1/files", partial(self._list, kind="file")),
                web.get("/v1/files/{id}", partial(self._show, kind="file")),
                web.delete("/v1/files/{id}", self._delete_file),
                web.get("/v1/files/{id}/content", self._content),
                web.post("/v1/uploads", self._make_upload),
                web.post("/v1/uploads/{id}/parts", self._add_part),
                web.post("/v1/uploads/{id}/complete", self._complete_upload),
                web.post("/v1/uploads/{id}/cancel", partial(self._set, kind="upload", status="cancelled")),
                web.post("/v1/batches", self._make_batch),
                web.get("/v1/batches", partial(self._list, kind="batch")),
                web.get("/v1/batches/{id}", partial(self._show, kind="batch")),
                web.post("/v1/batches/{id}/cancel", partial(self._set, kind="batch", status="cancelling")),
                web.post("/v1/fine_tuning/jobs", self._make_job),
                web.get("/v1/fine_tuning/jobs", partial(self._list, kind="job")),
                web.get("/v1/fine_tuning/jobs/{id}", partial(self._show, kind="job")),
                web.get("/v1/fine_tuning/jobs/{id}/{part:events|checkpoints}", self._job_part),
                web.post("/v1/fine_tuning/jobs/{id}/{verb:cancel|pause|resume}", self._job_verb),
                web.post("/v1/responses", self._respond),
                web.get("/v1/responses/{id}", self._show_response),
                web.delete("/v1/responses/{id}", self._delete_response),
                web.post("/v1/responses/{id}/cancel", partial(self._set, kind="response", status="cancelled")),
                web.get("/v1/responses/{id}/input_items", self._input_items),
            ]
        )
        return app

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[FakeOpenAI]:
        """Serve on 127.0.0.1; `url` is the base URL, with `/v1`."""
        runner = web.AppRunner(self.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _record(self, request: web.Request, handler: Any) -> web.StreamResponse:
        seen = Received(request.method, request.path, request.rel_url.raw_query_string, dict(request.headers))
        self.received.append(seen)
        request[SEEN] = seen
        try:
            if self.faults:
                return await self.faults.popleft()(request)
            await self._read(request, seen)
            response: web.StreamResponse = await handler(request)
            return response
        except asyncio.CancelledError:
            seen.cut = True
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # What a request lacks is the client's mistake, as at the real one.
            said = {"message": repr(error), "type": "invalid_request_error", "param": None, "code": None}
            return web.json_response({"error": said}, status=400)

    async def _read(self, request: web.Request, seen: Received) -> None:
        if request.content_type.startswith("multipart/"):
            async for part in await request.multipart():
                digest, size = hashlib.sha256(), 0
                value = b""
                while chunk := await part.read_chunk(65_536):  # type: ignore[union-attr]
                    digest.update(chunk)
                    size += len(chunk)
                    if size <= 65_536:
                        value += chunk
                name = part.name or ""  # type: ignore[union-attr]
                filename = part.filename  # type: ignore[union-attr]
                given: Any = (filename, size, digest.hexdigest(), value) if filename else value.decode()
                if name in seen.form:
                    before = seen.form[name]
                    seen.form[name] = [*(before if isinstance(before, list) else [before]), given]
                else:
                    seen.form[name] = given
            return
        seen.body = await request.read()
        if seen.body and request.content_type == "application/json":
            seen.json = json.loads(seen.body)

    # --- files ------------------------------------------------------------------------------------

    async def _make_file(self, request: web.Request) -> web.Response:
        form = request[SEEN].form
        name, size, _, head = form["file"]
        return json_response(self._new_file(name, size, str(form.get("purpose", "user_data")), head))

    def _new_file(self, name: str, size: int, purpose: str, content: bytes) -> dict[str, Any]:
        made = {"id": self._id("file-"), "object": "file", "bytes": size, "created_at": 1, "filename": name}
        self.objects["file"][made["id"]] = made = {**made, "purpose": purpose, "status": "processed"}
        self.contents[made["id"]] = content
        return made

    async def _delete_file(self, request: web.Request) -> web.Response:
        made = self._find(request, "file")
        del self.objects["file"][made["id"]]
        return json_response({"id": made["id"], "object": "file", "deleted": True})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        made = self._find(request, "file")
        content = self.contents[made["id"]]
        total = self.download_bytes or len(content)
        headers = {
            "content-type": "application/octet-stream",
            "content-disposition": f'attachment; filename="{made["filename"]}"',
            "content-length": str(total),
            **RATE_HEADERS,
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if not self.download_bytes:
            await response.write(content)
        block = b"0123456789abcdef" * 8192
        for start in range(0, self.download_bytes, len(block)):
            await response.write(block[: self.download_bytes - start])
            await asyncio.sleep(self.pause_s)
        await response.write_eof()
        return response

    async def _make_upload(self, request: web.Request) -> web.Response:
        body = request[SEEN].json
        made = {
            "id": self._id("upload_"),
            "object": "upload",
            "created_at": 1,
            "expires_at": 9,
            "status": "pending",
            **body,
        }
        self.objects["upload"][made["id"]] = made
        return json_response(made)

    async def _add_part(self, request: web.Request) -> web.Response:
        made = self._find(request, "upload")
        return json_response(
            {"id": self._id("part_"), "object": "upload.part", "created_at": 1, "upload_id": made["id"]}
        )

    async def _complete_upload(self, request: web.Request) -> web.Response:
        made = self._find(request, "upload")
        made |= {"status": "completed", "file": self._new_file(made["filename"], made["bytes"], made["purpose"], b"")}
        return json_response(made)

    # --- batches and fine-tuning ------------------------------------------------------------------

    async def _make_batch(self, request: web.Request) -> web.Response:
        body = request[SEEN].json
        output = self._new_file("output.jsonl", 2, "batch_output", b'{"custom_id": "1"}\n')
        made = {"id": self._id("batch_"), "object": "batch", "created_at": 1, "status": "completed", **body}
        self.objects["batch"][made["id"]] = made = {**made, "output_file_id": output["id"], "error_file_id": None}
        return json_response({**made, "status": "validating", "output_file_id": None})

    async def _make_job(self, request: web.Request) -> web.Response:
        body = request[SEEN].json
        made = {"id": self._id("ftjob-"), "object": "fine_tuning.job", "created_at": 1, "status": "queued", **body}
        made |= {"error": {}, "result_files": [], "fine_tuned_model": None, "hyperparameters": {"n_epochs": 1}}
        self.objects["job"][made["id"]] = {**made, "organization_id": "org-1", "seed": 1, "trained_tokens": None}
        return json_response(self.objects["job"][made["id"]])

    async def _job_part(self, request: web.Request) -> web.Response:
        self._find(request, "job")
        kind = request.match_info["part"].removesuffix("s")
        part = {
            "id": self._id("ftevent-"),
            "object": f"fine_tuning.job.{kind}",
            "created_at": 1,
            "level": "info",
            "message": "m",
        }
        return json_response({"object": "list", "data": [part], "has_more": False})

    async def _job_verb(self, request: web.Request) -> web.Response:
        states = {"cancel": "cancelled", "pause": "paused", "resume": "queued"}
        return await self._set(request, "job", states[request.match_info["verb"]])

    # --- responses --------------------------------------------------------------------------------

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        body = request[SEEN].json
        made = self._new_response(body)
        if body.get("store") is not False:
            self.objects["response"][made["id"]] = made
        if not body.get("stream"):
            return json_response(made)
        begun = {**made, "status": "in_progress", "output": [], "usage": None}
        item = made["output"][0]
        where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        events: list[Any] = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
            {"type": "response.content_part.added", **where, "part": {**item["content"][0], "text": ""}},
            *(
                {"type": "response.output_text.delta", **where, "delta": text, "logprobs": []}
                for text in ("Hello", " there")
            ),
            {"type": "response.output_text.done", **where, "text": "Hello there", "logprobs": []},
            {"type": "response.content_part.done", **where, "part": item["content"][0]},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": made},
        ]
        events = [{**event, "sequence_number": n} for n, event in enumerate(events)]
        return await self._events(request, events, named=True)

    def _new_response(self, body: dict[str, Any]) -> dict[str, Any]:
        text = {"type": "output_text", "text": "Hello there", "annotations": []}
        item = {
            "id": self._id("msg_"),
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [text],
        }
        usage = {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 6,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 17,
        }
        return {
            "id": self._id("resp_"),
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": body["model"],
            "output": [item],
            "parallel_tool_calls": True,
            "previous_response_id": body.get("previous_response_id"),
            "store": body.get("store", True),
            "tool_choice": "auto",
            "tools": [],
            "metadata": body.get("metadata") or {},
            "usage": usage,
        }

    async def _show_response(self, request: web.Request) -> web.StreamResponse:
        made = self._find(request, "response")
        if request.query.get("stream") == "true":
            event = {"type": "response.completed", "response": made, "sequence_number": 9}
            return await self._events(request, [event], named=True)
        return json_response(made)

    async def _delete_response(self, request: web.Request) -> web.Response:
        made = self._find(request, "response")
        del self.objects["response"][made["id"]]
        return json_response({"id": made["id"], "object": "response", "deleted": True})

    async def _input_items(self, request: web.Request) -> web.Response:
        self._find(request, "response")
        item = {
            "id": self._id("msg_"),
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "hi"}],
        }
        return json_response(
            {"object": "list", "data": [item], "first_id": item["id"], "last_id": item["id"], "has_more": False}
        )

    # --- any object -------------------------------------------------------------------------------

    def _find(self, request: web.Request, kind: str) -> dict[str, Any]:
        made = self.objects[kind].get(request.match_info["id"])
        if made is None:
            message = f"No such {kind} object: {request.match_info['id']}"
            error = {"message": message, "type": "invalid_request_error", "param": "id", "code": None}
            raise web.HTTPNotFound(text=json.dumps({"error": error}), content_type="application/json")
        return made

    async def _show(self, request: web.Request, kind: str) -> web.Response:
        return json_response(self._find(request, kind))

    async def _set(self, request: web.Request, kind: str, status: str) -> web.Response:
        made = self._find(request, kind)
        made["status"] = status
        return json_response(made)

    async def _list(self, request: web.Request, kind: str) -> web.Response:
        return json_response({"object": "list", "data": list(self.objects[kind].values()), "has_more": False})


def fail(status: int, **headers: str) -> Fault:
    """A fault: an error with this status. The body is read first."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        error = {"message": f"made to fail with {status}", "type": "server_error", "param": None, "code": None}
        return web.Response(
            status=status, body=json.dumps({"error": error}).encode(), content_type="application/json", headers=headers
        )

    return answer


def cut_after(head: bytes, content_type: str = "text/event-stream") -> Fault:
    """A fault: a good status and `head`, then the connection is cut."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"content-type": content_type})
        await response.prepare(request)
        await response.write(head)
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    return answer


async def _serve(port: int) -> None:
    async with FakeOpenAI().running(port) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
