"""The command line: one file a command, each imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from gateway import __version__

# command: (module, the click command in it)
_COMMANDS = {
    "serve": ("gateway.cli.serve", "serve"),
    "check-config": ("gateway.cli.commands", "check_config_command"),
    "migrate": ("gateway.cli.migrate", "migrate"),
    "keys": ("gateway.cli.keys", "keys"),
    "organisations": ("gateway.cli.organisations", "organisations"),
    "teams": ("gateway.cli.teams", "teams"),
    "users": ("gateway.cli.users", "users"),
    "limits": ("gateway.cli.limits", "limits"),
    "budgets": ("gateway.cli.budgets", "budgets"),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are used: `--help` and `serve` start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = _COMMANDS.get(cmd_name)
        if found is None:
            return None
        command: click.Command = getattr(import_module(found[0]), found[1])
        return command


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubechat-gateway")
def main() -> None:
    """The KubeChat LLM gateway: an OpenAI-compatible proxy in front of any provider."""
