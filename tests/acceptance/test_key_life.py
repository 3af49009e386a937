"""Keys made over the admin API and on the command line, used with the SDK, and refused once they are revoked."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import openai
import orjson
import pytest
from openai import OpenAI

from tests.acceptance.gateway_process import MASTER_KEY
from tests.acceptance.served import Served, call


def _chat(served: Served, key: str) -> str:
    with OpenAI(base_url=served.v1, api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "hi"}])
    return answer.choices[0].message.content or ""


def _refused_within(served: Served, key: str, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            _chat(served, key)
        except openai.AuthenticationError:
            return True
        time.sleep(0.02)
    return False


def test_a_key_from_the_admin_api_works_until_it_is_revoked(served: Served) -> None:
    made = served.make_key(name="short-lived")
    assert _chat(served, made["key"])
    status, _, _ = call("DELETE", f"{served.gateway.url}/admin/keys/{made['id']}", key=MASTER_KEY)
    assert status in (200, 204)
    assert _refused_within(served, made["key"], 5)


def test_a_key_from_the_command_line_works_with_the_running_gateway(served: Served) -> None:
    def keys(*arguments: str) -> bytes:
        command = [sys.executable, "-m", "gateway", "keys", *arguments, "--home", str(served.gateway.home), "--json"]
        environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        return subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60).stdout

    made = orjson.loads(keys("create", "from-the-shell", "--models", "demo"))
    assert _chat(served, made["key"])
    with (
        OpenAI(base_url=served.v1, api_key=made["key"], max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError),
    ):
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": "hi"}])
    keys("revoke", made["id"])
    assert _refused_within(served, made["key"], 5)


def test_the_master_key_may_call_too_and_a_key_may_not_administer(served: Served) -> None:
    assert _chat(served, MASTER_KEY)
    assert call("GET", served.gateway.url + "/admin/keys", key=served.key)[0] == 403
    assert call("GET", served.gateway.url + "/admin/keys")[0] == 401
