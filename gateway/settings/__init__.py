"""The shape of config/*.yaml: every setting with its default, its unit and one line of help.

`load` reads a YAML file and what it includes (yaml_source.py keeps the line of each value), validates
the whole against the sections (sections.py, catalogue.py), checks that the parts fit each other
(checks.py), and answers with a frozen `Settings` or raises `SettingsError` with every mistake: file,
line, dotted path, and the nearest right name. changes.py says what two settings differ in and what
needs a restart; docs.py writes the table in docs/configuration.md.

A secret is only ever named here (secrets.py). Its value is read by `resolve`, at the moment of use, and
is in no setting, message, dump or repr. Nothing in this package opens a connection or starts a task,
and it knows no provider and no stage: their names are handed in.
"""

from gateway.settings.accounting import Ledger, Reporting
from gateway.settings.catalogue import (
    Model,
    Price,
    Provider,
    Target,
    Timeouts,
    pico_usd_per_search_unit,
    pico_usd_per_token,
)
from gateway.settings.changes import RESTART_ONLY, diff, dump, needs_restart
from gateway.settings.governance import MOST_A_LIMIT, Limits
from gateway.settings.loading import fingerprint, load, secret_values, watched_files
from gateway.settings.mistakes import Mistake, Origin, SettingsError
from gateway.settings.root import Settings
from gateway.settings.secrets import Secret, is_set, resolve
from gateway.settings.section import host_and_port
from gateway.settings.sections import (
    Admin,
    Breaker,
    Database,
    Fetch,
    Keys,
    Logging,
    Passthrough,
    Pool,
    RequestLog,
    Retries,
    Security,
    Server,
    Stage,
    Telemetry,
    Tls,
    Upstream,
    Valkey,
)

__all__ = [
    "MOST_A_LIMIT",
    "RESTART_ONLY",
    "Admin",
    "Breaker",
    "Database",
    "Fetch",
    "Keys",
    "Ledger",
    "Limits",
    "Logging",
    "Mistake",
    "Model",
    "Origin",
    "Passthrough",
    "Pool",
    "Price",
    "Provider",
    "Reporting",
    "RequestLog",
    "Retries",
    "Secret",
    "Security",
    "Server",
    "Settings",
    "SettingsError",
    "Stage",
    "Target",
    "Telemetry",
    "Timeouts",
    "Tls",
    "Upstream",
    "Valkey",
    "diff",
    "dump",
    "fingerprint",
    "host_and_port",
    "is_set",
    "load",
    "needs_restart",
    "pico_usd_per_search_unit",
    "pico_usd_per_token",
    "resolve",
    "secret_values",
    "watched_files",
]
