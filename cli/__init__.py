"""The command line: thin commands over the library."""

from __future__ import annotations

import click

from fxprune.cli.lazy import LazyGroup

_NAMES = ("distill", "journal", "prune", "evaluate", "inspect", "explain", "export", "generate", "bench", "report")
COMMANDS = {name: f"fxprune.cli.{name}" for name in _NAMES}


@click.group(cls=LazyGroup, commands_in=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fxprune")
def main() -> None:
    """Narrow a transformer, distil it from itself, and ship it as a Hugging Face model and a measured ONNX file."""
