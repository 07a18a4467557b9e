"""``fxprune generate``: texts from a model in ONNX Runtime, with its key-value cache."""

from __future__ import annotations

from pathlib import Path

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("generate", short_help="Write texts with a model in ONNX Runtime.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--prompt", "prompts", multiple=True, required=True, help="Text to continue; may be repeated.")
@click.option("--max-new-tokens", type=opt.AT_LEAST_1, default=50, show_default=True, help="Of each text.")
@click.option("--threads", type=opt.AT_LEAST_0, default=0, help="CPU threads.  [default: all cores]")
@click.option("--int8", is_flag=True, help="Use the int8 files.  [default: float32 where there are such]")
@opt.as_json
@handled
def command(
    folder: Path, prompts: tuple[str, ...], max_new_tokens: int, threads: int, int8: bool, as_json: bool
) -> None:
    """Continue each prompt, greedily, with the ONNX files in FOLDER; an encoder-decoder reads it as its source.

    fxprune generate out/ --prompt "Once upon a time"
    """
    import json
    from dataclasses import asdict

    from fxprune.cli import render
    from fxprune.deploy.generation.texts import write_texts

    answer = write_texts(folder, prompts, max_new_tokens=max_new_tokens, threads=threads, int8=int8 or None)
    if answer.unused:
        render.say(f"greedy: the model's own settings are not used: {', '.join(answer.unused)}")
    if as_json:
        texts = [asdict(text) for text in answer.texts]
        click.echo(json.dumps({"texts": texts, "seconds": answer.seconds, "unused": answer.unused}))
        return
    for text in answer.texts:
        render.tell(text.prompt + text.text if answer.continues else text.text)
    render.say(f"{answer.tokens_per_second:.0f} tokens/s")
