"""What `serve` says when it is ready: the address, a first request, the admin key, who answers."""

from __future__ import annotations

import os
import sys

from gateway.assembly import Ground
from gateway.providers.registry import PROVIDERS
from gateway.services.routing.build import switched_on
from gateway.settings import Settings
from gateway.store.home import MASTER_KEY_FILE


def print_banner(ground: Ground, settings: Settings, host: str, port: int) -> None:
    """Print it to stdout; the admin key itself only to a terminal."""
    scheme = "https" if settings.server.tls is not None else "http"
    shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    base = f"{scheme}://{shown}:{port}"
    terminal = sys.stdout.isatty()
    key_file = ground.home / MASTER_KEY_FILE
    from_environment = bool(os.environ.get("GATEWAY_MASTER_KEY"))
    where = "GATEWAY_MASTER_KEY" if from_environment else str(key_file)
    key = ground.master_key if terminal else f"in {where}"
    shell_key = "$GATEWAY_MASTER_KEY" if from_environment else f"$(cat '{key_file}')"
    model = settings.models[0].name if settings.models else "MODEL"
    lines = [
        f"KubeChat LLM gateway on {base} ({ground.workers} worker{'' if ground.workers == 1 else 's'})",
        f"admin key: {key}",
        f"models: {', '.join(model.name for model in settings.models) or '(none declared)'}",
        f"providers: {', '.join(settings.providers) or '(none declared)'}",
    ]
    by_itself = switched_on(settings, PROVIDERS, ground.environ, ground.answering)
    if by_itself:
        lines.append(f"switched on by themselves: {', '.join(by_itself)} (ask for provider/model with the admin key)")
    lines += [
        "try it:",
        f'  curl {base}/v1/chat/completions -H "Authorization: Bearer {shell_key}" \\',
        "    -H 'Content-Type: application/json' \\",
        f"""    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'""",
    ]
    print("\n".join(lines), flush=True)
