"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fxprune.cli.kinds import AT_LEAST_0 as AT_LEAST_0
from fxprune.cli.kinds import AT_LEAST_1 as AT_LEAST_1
from fxprune.cli.kinds import COUNT as COUNT
from fxprune.cli.kinds import COUNTS as COUNTS
from fxprune.cli.kinds import FILE as FILE
from fxprune.cli.kinds import FOLDER as FOLDER
from fxprune.cli.kinds import GRID as GRID
from fxprune.cli.kinds import LOSS_WEIGHT as LOSS_WEIGHT
from fxprune.errors import UsageError, check_one_of

TARGET_EXAMPLE = "--target-params 25%"

model_option = click.option("--model", help="Hub name, folder, .pt2, or 'demo'; may also stand without --model.")
dataset = click.option(
    "--dataset", help="Hub name, local parquet, json or text files, or 'demo'. Default: Wikipedia, streamed."
)
output = click.option("--output", type=FOLDER, default=Path("out"), show_default=True, help="Folder for all results.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace the results of an earlier run in --output.")
target = click.option("--target-params", type=COUNT, help="Upper bound: 15M, 14500000, or 25% of the model.")
target_flops = click.option("--target-flops", type=COUNT, help="Instead: FLOPs of one text: 2G or 25%; 2 a product.")
target_ratio = click.option("--target-ratio", type=float, help="Instead: fraction of every width that stays.")
target_latency = click.option("--target-latency", help="Instead: milliseconds of the ONNX file, measured: 4ms.")
at = click.option(
    "--at", help="Batch x length to time at; 8x128,2 on two threads, 8x128,int8 the int8 file.  [default: 1x128]"
)
optimise_for = click.option(
    "--optimise-for",
    type=click.Choice(["size", "latency"]),
    default="size",
    show_default=True,
    help="Latency: of the widths that meet the target, the fastest, measured.",
)
allocation = click.option(
    "--allocation",
    type=click.Choice(["uniform", "global"]),
    default="uniform",
    show_default=True,
    help="The same ratio everywhere, or least score per saved cost first.",
)
min_keep = click.option(
    "--min-keep", type=float, help="Least share of a group, if allocation is global or timed.  [default: 0.1]"
)
round_to = click.option("--round-to", type=AT_LEAST_1, default=1, help="Kept sizes are multiples of this; heads any.")
device = click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
seed = click.option("--seed", default=0, show_default=True, help="Of data order, masks and random scores.")
verify = click.option("--verify", is_flag=True, help="Prove the result and write certificate.json.")
repair = click.option(
    "--repair",
    type=click.Choice(["none", "least-squares"]),
    default="none",
    show_default=True,
    help="Fit the kept weights anew after a cut.",
)
repair_batches = click.option(
    "--repair-batches", type=click.IntRange(min=2), default=16, show_default=True, help="Batches of text to repair on."
)
free_outputs = click.option("--free-outputs", is_flag=True, help="Let output features shrink too (a hidden state).")
latency = click.option("--latency/--no-latency", default=True, show_default=True, help="Time teacher and student.")
grid = click.option("--grid", type=GRID, default="1x32,1x128,8x128", show_default=True, help="Batch x length.")
threads = click.option(
    "--threads", type=AT_LEAST_1, multiple=True, default=(1,), show_default=True, help="CPU threads; may be repeated."
)
provider = click.option(
    "--provider", default="cpu", show_default=True, help="cpu, cuda, ...: what this ONNX Runtime has."
)
int8 = click.option(
    "--int8",
    type=click.Choice(["dynamic", "static"]),
    is_flag=False,
    flag_value="dynamic",
    help="Write int8: scales found while it runs, or from text.",
)
int8_too = click.option("--int8", is_flag=True, help="Write and time an int8 ONNX file too.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def model(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take the model as --model or as the first argument, and how far it is trusted."""

    @functools.wraps(command)
    def run(*args: Any, model: str | None, model_argument: str | None, **options: Any) -> Any:
        if options.get("resume") is not None and model is None and model_argument is None:
            return command(*args, model="", **options)  # the run says which
        return command(*args, model=one_model(model, model_argument), **options)

    return model_option(click.argument("model_argument", metavar="[MODEL]", required=False)(trusted(run)))


def trusted(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take how far the files of models are trusted."""

    @click.option("--allow-pickle", is_flag=True, help="Read the tensors, and nothing else, of pickled weights.")
    @click.option("--trust-remote-code", is_flag=True, help="Run Python files that lie beside the weights.")
    @functools.wraps(command)
    def run(*args: Any, allow_pickle: bool, trust_remote_code: bool, **options: Any) -> Any:
        from fxprune.trust import trusting

        with trusting(pickles=allow_pickle, code=trust_remote_code):
            return command(*args, **options)

    return run


def one_model(option: str | None, argument: str | None) -> str:
    """Return the one model of the call."""
    if option is not None and argument is not None:
        raise click.UsageError(f"two models were given, {option!r} and {argument!r}: leave one out")
    if option is None and argument is None:
        raise click.UsageError("no model was given: add --model with a hub name, a folder, a .pt2 file or 'demo'")
    return option or str(argument)


def _use_recipe(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
    """Make the settings of a recipe the defaults of the other options."""
    from fxprune.recipes import read_recipe

    if name is None:
        return
    try:
        settings = read_recipe(name)
    except UsageError as error:
        raise click.BadParameter(str(error).removeprefix("UsageError: "), ctx, param) from error
    schedule = dict(settings.pop("schedule", {}))
    if "kind" in schedule:
        schedule["schedule"] = schedule.pop("kind")
    weights = [f"{term}={weight}" for term, weight in settings.pop("loss", {}).items()]
    ctx.default_map = {**settings, **schedule, "loss_weights": weights}
    options = {option.name for option in ctx.command.params}
    ctx.meta[__name__] = {key: value for key, value in settings.items() if key not in options}


def rest_of_recipe() -> dict[str, Any]:
    """Return the settings of the recipe that no option has."""
    rest: dict[str, Any] = click.get_current_context().meta.get(__name__, {})
    return rest


recipe = click.option(
    "--recipe", is_eager=True, expose_value=False, callback=_use_recipe, help="Defaults by name, or a YAML file."
)


def chosen_target() -> dict[str, Any]:
    """Return the one target of the call; what stands on the command line goes before a recipe.

    Without a target it is the last snapshot.
    """
    ctx = click.get_current_context()
    names = ("target_params", "target_flops", "target_ratio", "target_latency")
    given = {name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    chosen = {name: value for name, value in ctx.params.items() if name in (given or names)}
    if not any(chosen.values()) and ctx.params.get("snapshots"):
        chosen = {"target_params": ctx.params["snapshots"][-1]}
    check_one_of({f"--{name.replace('_', '-')}": chosen.get(name) for name in names}, TARGET_EXAMPLE)
    return {name: chosen.get(name) for name in names}


def given() -> dict[str, Any]:
    """Return the options that stand on the command line."""
    ctx = click.get_current_context()
    named = {parameter.name or "" for parameter in ctx.command.params}
    sources = {name: ctx.get_parameter_source(name) for name in named}
    return {name: ctx.params.get(name) for name in sorted(named) if sources[name] is ParameterSource.COMMANDLINE}


def check_file(path: Path, overwrite: bool) -> None:
    """Raise UsageError unless `path` may be written."""
    if path.exists() and not overwrite:
        raise UsageError(f"'{path}' exists", remedy="choose another file, or pass --overwrite")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"'{path}' cannot be written", remedy="choose another file")


def options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Apply several options, first one on top of the help."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        return functools.reduce(lambda f, decorate: decorate(f), reversed(decorators), function)

    return apply
