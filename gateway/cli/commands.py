"""Commands that need the registry and the pipeline handed in."""

from gateway.assembly import KEY_VARIABLES, STAGES
from gateway.cli.check_config import check_config

check_config_command = check_config(KEY_VARIABLES, STAGES)
