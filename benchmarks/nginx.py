"""Configurations of nginx: the fixed upstream that answers every contestant, and the plain reverse proxy."""

from __future__ import annotations

from pathlib import Path

from benchmarks import install
from benchmarks.processes import Server
from benchmarks.traffic import ANSWER, PATH, TRANSLATED_ANSWER, TRANSLATED_PATH

# One worker, no access log, connections that are never recycled: the upstream must not be what is measured.
_SHELL = """\
daemon off;
worker_processes 1;
{user}
pid {home}/nginx.pid;
error_log stderr warn;
# multi_accept: else a busy worker takes one new connection a turn, and a thousand streams wait for theirs.
events {{ worker_connections 8192; multi_accept on; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
{inside}
}}
"""

_UPSTREAM = """\
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = {path} {{ return 200 '{answer}'; }}
        location = {other_path} {{ return 200 '{other_answer}'; }}
        location = /ready {{ return 200 'ready'; }}
    }}
"""

_PROXY = """\
    upstream model {{
        server 127.0.0.1:{upstream};
        keepalive 2048;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering {buffering};
        }}
    }}
"""


def upstream(home: Path, port: int) -> Server:
    """An nginx that answers every chat with the one fixed completion."""
    inside = _UPSTREAM.format(
        port=port,
        path=PATH,
        answer=ANSWER.decode().replace("'", "\\'"),
        other_path=TRANSLATED_PATH,
        other_answer=TRANSLATED_ANSWER.decode().replace("'", "\\'"),
    )
    return _server("upstream", home, inside)


def proxy(home: Path, port: int, upstream_port: int, *, buffering: bool) -> Server:
    """An nginx that does nothing but pass requests on; `buffering` off writes each upstream read at once."""
    inside = _PROXY.format(port=port, upstream=upstream_port, buffering="on" if buffering else "off")
    return _server("nginx", home, inside)


def _server(name: str, home: Path, inside: str) -> Server:
    home.mkdir(parents=True, exist_ok=True)
    config = home / "nginx.conf"
    # As root nginx would give its worker to another user, who cannot write below `home`; otherwise the line is ignored.
    config.write_text(_SHELL.format(home=home, user="user root;" if home.owner() == "root" else "", inside=inside))
    binary = install.debian("nginx", "nginx-light")
    return Server(name, [str(binary), "-p", str(home), "-c", str(config), "-e", "stderr"], home=home)
