"""Whatever tells of budgets and of a journal that cannot be written: the service, and the webhooks declared."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence

from gateway.assembly.options import proxy_of
from gateway.metrics import Metrics
from gateway.services.alerts.service import Alerts
from gateway.services.alerts.webhook import Webhook, signing_key
from gateway.services.ledger.service import Ledger
from gateway.settings import Secret, Settings, SettingsError, resolve
from gateway.settings.alerts import Webhook as Declared
from gateway.settings.alerts import why_no_webhook
from gateway.settings.mistakes import Mistake
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks
from gateway.upstream.addresses import AddressRule
from gateway.upstream.credentials.fetch import PoolFetch
from gateway.upstream.exchange import Limits
from gateway.upstream.pool import Pool

_LIMITS = Limits(connect_s=5.0, first_byte_s=10.0, idle_s=10.0, total_s=15.0, max_body_bytes=1 << 20)


class Alerting:
    """`alerts` is the service, which works in the background from here on."""

    def __init__(
        self, postgres: Postgres, pool: Pool, environ: Mapping[str, str], tasks: Tasks, metrics: Metrics
    ) -> None:
        self._pool = pool
        self._environ = environ
        self.alerts = Alerts(postgres, PoolPost(pool, None, AddressRule()), metrics)
        self.alerts.open(tasks)

    def watch(self, ledger: Ledger) -> None:
        """Tell of a journal that cannot be written."""
        host = socket.gethostname()
        ledger.on_unwritable(lambda path, reason: self.alerts.journal_unwritable(f"{host}:{path}", reason))

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Read the webhooks of `settings`; what is returned puts them in force. Raises SettingsError."""
        webhooks = [
            _webhook(declared, f"alerts.webhooks[{index}]", self._environ)
            for index, declared in enumerate(settings.alerts.webhooks)
        ]
        rule = AddressRule.of(settings.security.allow_private_upstreams)
        post = PoolPost(self._pool, proxy_of(settings, self._environ), rule)
        return lambda: self.alerts.use(webhooks, post)


class PoolPost:
    """Posts over connections of the gateway's pool, to addresses that `rule` allows; an answer that redirects is not
    followed. `proxy` is as in `Origin.parse`."""

    def __init__(self, pool: Pool, proxy: str | None, rule: AddressRule) -> None:
        self._fetch = PoolFetch(pool, proxy=proxy, rule=rule, limits=_LIMITS)

    async def __call__(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> int:
        """The answer's status. Raises GatewayError where none came."""
        status, _ = await self._fetch("POST", url, headers, body)
        return status


def _webhook(declared: Declared, path: str, environ: Mapping[str, str]) -> Webhook:
    """Raises SettingsError."""
    url = declared.url
    if isinstance(url, Secret):
        url = resolve(url, environ) or ""
        if wrong := why_no_webhook(url):
            raise _unusable(declared.url, f"{path}.url", wrong)
    secret = resolve(declared.secret, environ)
    try:
        key = None if secret is None else signing_key(secret)
    except ValueError as error:
        raise _unusable(declared.secret, f"{path}.secret", str(error)) from None
    return Webhook(url, declared.format, key)


def _unusable(where: object, path: str, reason: str) -> SettingsError:
    origin = where.origin if isinstance(where, Secret) else None
    return SettingsError([Mistake(origin.file if origin else "", origin.line if origin else 0, path, reason)])
