"""A real nginx, in a folder of its own, on a free port."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")

_CONF = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr emerg;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port}{ssl};
        root {folder};
        {server}
    }}
}}
"""


@asynccontextmanager
async def nginx(folder: Path, server: str, *, certificate: tuple[str, str] | None = None) -> AsyncIterator[int]:
    """Run nginx with these directives in its server block; yields the port. `certificate`: chain and key paths."""
    assert NGINX is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if certificate is not None:
        server += f"\nssl_certificate {certificate[0]};\nssl_certificate_key {certificate[1]};"
    conf = folder / "nginx.conf"
    conf.write_text(_CONF.format(folder=folder, port=port, ssl=" ssl" if certificate else "", server=server))
    process = await asyncio.create_subprocess_exec(NGINX, "-p", str(folder), "-c", str(conf))
    try:
        await _ready(port, process)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(10):
        while True:
            assert process.returncode is None, "nginx did not start"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
