"""Commands that need the registry and the pipeline handed in."""

from gateway.assembly import KEY_VARIABLES, STAGES
from gateway.cli.check_config import check_config
from gateway.providers.registry import PROVIDERS

_EXTRAS = {name: known.extra for name, known in PROVIDERS.items() if known.extra is not None}
check_config_command = check_config(KEY_VARIABLES, STAGES, _EXTRAS)
