"""A group of commands that are imported when they are called: `--help` need not wait for torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import click

WORDS = "fxprune.words"  # of the call, in the context's meta


def command_line() -> list[str]:
    """Return the words of the call that is running, with the name of the program; empty outside of one."""
    context = click.get_current_context(silent=True)
    words = None if context is None else context.meta.get(WORDS)
    return [] if words is None else ["fxprune", *words]


class LazyGroup(click.Group):
    """Finds each command in a module of its own.

    Args:
        commands_in: command name -> module that holds a command called `command`; its docstring opens with the help.
    """

    def __init__(self, *args: Any, commands_in: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands_in = dict(commands_in)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Remember the words of the call before they are parsed."""
        words = list(args)
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[WORDS] = words
        return context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in their order of use."""
        return list(self.commands_in)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.commands_in:
            return None
        command: click.Command = importlib.import_module(self.commands_in[cmd_name]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for an unknown one."""
        if args and args[0] not in self.commands_in and not args[0].startswith("-"):
            near = get_close_matches(args[0], self.commands_in, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"No such command '{args[0]}'.{hint} Known: {', '.join(self.commands_in)}.", ctx)
        return super().resolve_command(ctx, args)
