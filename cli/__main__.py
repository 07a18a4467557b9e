"""``python -m fxprune.cli``."""

from fxprune.cli import main

main(prog_name="fxprune")
