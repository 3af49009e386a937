"""What is compared, each as one worker process: how it is started, and what a client must send it.

`ours` is the gateway as anyone would run it: the public command, a configuration file, embedded
PostgreSQL and Valkey, a key made over the admin API, every stage on and one log line a request.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import yaml

from benchmarks import install, nginx
from benchmarks.plan import Plan
from benchmarks.processes import Failed, Server, clean_environment, free_port
from benchmarks.traffic import MODEL, TRANSLATED_MODEL

NAMES = ("nginx", "ours", "litellm", "portkey")

# None: ready when the port accepts.
READY_PATHS: dict[str, str | None] = {
    "nginx": None,
    "ours": "/readyz",
    "litellm": "/health/liveliness",
    "portkey": "/",
}


@dataclass
class Running:
    """A contestant that answers on 127.0.0.1:`port` to clients that send `headers`."""

    name: str
    server: Server
    port: int
    headers: dict[str, str] = field(default_factory=dict)
    ready_s: float = 0.0


@contextlib.contextmanager
def run(
    name: str, plan: Plan, upstream_port: int, *, streaming: bool = False, key: dict[str, object] | None = None
) -> Iterator[Running]:
    """Start contestant `name` in front of the upstream and stop it at the end.

    `streaming` makes nginx write each read at once, as a gateway must; `key` has limits and budgets for the gateway's
    key. Raises `Failed` when it does not start.
    """
    directory = plan.home / f"{name}-{secrets.token_hex(4)}"
    directory.mkdir(parents=True)
    stand_in = name == "ours" and plan.self_check
    if name == "nginx" or stand_in:
        running = _nginx(name, directory, upstream_port, buffering=not streaming)
    elif name == "ours":
        running = _ours(plan.gateway, directory, upstream_port)
    elif name == "litellm":
        running = _litellm(directory, upstream_port)
    elif name == "portkey":
        running = _portkey(directory, upstream_port)
    else:
        raise ValueError(f"no contestant is named {name}; there are {', '.join(NAMES)}")
    with running.server:
        running.ready_s = running.server.wait_for(running.port, None if stand_in else READY_PATHS[name])
        if name == "ours" and not stand_in:
            running.headers["Authorization"] = f"Bearer {_virtual_key(running, key or {})}"
        yield running


def _nginx(name: str, home: Path, upstream_port: int, *, buffering: bool) -> Running:
    port = free_port()
    headers = {"Authorization": f"Bearer sk-{secrets.token_hex(24)}"}
    return Running(name, nginx.proxy(home, port, upstream_port, buffering=buffering), port, headers)


def ours_command(home: Path, upstream_port: int, port: int) -> list[str]:
    """Write the gateway's configuration into `home`; return the arguments that follow `kubechat-gateway`."""
    config = home / "gateway.yaml"
    declared = {
        "providers": {
            "upstream": {"type": "openai", "base_url": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"},
            "other": {"type": "anthropic", "base_url": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"},
        },
        "models": [
            {
                "name": MODEL,
                "targets": [{"provider": "upstream", "model": MODEL}],
                "price": {"input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.60},
            },
            {"name": TRANSLATED_MODEL, "targets": [{"provider": "other", "model": TRANSLATED_MODEL}]},
        ],
    }
    config.write_text(yaml.safe_dump(declared, sort_keys=False))
    where = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return ["serve", *where, "--workers", "1", "--home", str(home / "home")]


def _ours(program: str, home: Path, upstream_port: int) -> Running:
    port = free_port()
    command = [program, *ours_command(home, upstream_port, port)]
    env = clean_environment(home, GATEWAY_MASTER_KEY=f"sk-bench-{secrets.token_hex(24)}")
    return Running("ours", Server("ours", command, home=home, env=env), port)


def _virtual_key(running: Running, bounds: dict[str, object]) -> str:
    """Make a key over the admin API, as an operator would."""
    master = running.server.env["GATEWAY_MASTER_KEY"]
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {master}", "Content-Type": "application/json"}
        connection.request("POST", "/admin/keys", orjson.dumps({"name": "bench", **bounds}), headers)
        reply = connection.getresponse()
        body = reply.read()
    finally:
        connection.close()
    if reply.status not in (200, 201):
        raise Failed(f"POST /admin/keys answered {reply.status}: {body[:600].decode(errors='replace')}")
    key: str = orjson.loads(body)["key"]
    return key


def _litellm(home: Path, upstream_port: int) -> Running:
    """One worker, a master key, no database: the quickest that it can be set up."""
    port, master = free_port(), f"sk-{secrets.token_hex(24)}"
    target = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "sk-none"}
    config = home / "config.yaml"
    config.write_text(yaml.safe_dump({"model_list": [{"model_name": MODEL, "litellm_params": target}]}))
    binary = install.litellm() / "bin" / "litellm"
    command = [str(binary), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    env = clean_environment(home, LITELLM_MASTER_KEY=master, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR")
    headers = {"Authorization": f"Bearer {master}"}
    return Running("litellm", Server("litellm", command, home=home, env=env), port, headers)


def _portkey(home: Path, upstream_port: int) -> Running:
    port = free_port()
    node = install.debian("node", "nodejs")
    command = [str(node), str(install.portkey()), f"--port={port}", "--headless"]
    headers = {
        "Authorization": "Bearer sk-none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream_port}/v1",
    }
    env = clean_environment(home, NODE_ENV="production")
    return Running("portkey", Server("portkey", command, home=home, env=env), port, headers)


@contextlib.contextmanager
def fixed_upstream(home: Path) -> Iterator[int]:
    """The nginx that answers for the model; yields its port."""
    port = free_port()
    with nginx.upstream(home / f"upstream-{secrets.token_hex(4)}", port) as server:
        server.wait_for(port, "/ready")
        yield port


@contextlib.contextmanager
def stream_upstream(home: Path) -> Iterator[int]:
    """Our own stream upstream (`benchmarks/stream_upstream.py`); yields its port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.stream_upstream", str(port)]
    root = Path(__file__).parent.parent
    env = clean_environment(home, PYTHONPATH=str(root))
    with Server("stream-upstream", command, home=home / f"streams-{secrets.token_hex(4)}", env=env) as server:
        server.wait_for(port, "/stats")
        yield port
