"""Coverage: every architecture of the zoo through the whole compiler, with nothing but model and example inputs.

    make bench-coverage
    python benchmarks/coverage.py bert llama --output coverage.json

Every row runs in a process of its own, two at a time, with a time-out. Beside it stands what Torch-Pruning makes of the
same model, likewise unaided.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import click
from common import Machine, console
from coverage_table import missed, table_of, totals, totals_text

from fxprune.atomic import atomic_write

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from zoo import LIBRARY, ZOO

HERE = Path(__file__).parent
WORKERS = 2


def run_row(name: str, *, peer: bool, timeout: float) -> dict[str, Any]:
    """Run one row in a fresh process; what it prints last is its JSON."""
    command = [sys.executable, str(HERE / "coverage_row.py"), name, *(["--peer"] if peer else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    start = perf_counter()
    facts: dict[str, Any]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
        if done.returncode == 0:
            facts = json.loads(done.stdout.splitlines()[-1])
        else:
            last = next(reversed(done.stderr.strip().splitlines()), "no message")
            facts = {"name": name, "failures": {"process": f"exit {done.returncode}: {last}"}}
    except subprocess.TimeoutExpired:
        facts = {"name": name, "failures": {"process": f"not done after {timeout:.0f} s"}}
    facts["total_seconds"] = round(perf_counter() - start, 1)
    return facts


def run_all(names: Sequence[str], *, peer: bool, timeout: float) -> list[dict[str, Any]]:
    """Run all rows, two at a time; tell how far it is on stderr."""
    jobs = [(name, False) for name in names] + ([(name, True) for name in names] if peer else [])

    def work(job: tuple[str, bool]) -> dict[str, Any]:
        facts = run_row(job[0], peer=job[1], timeout=timeout)
        kind = "Torch-Pruning" if job[1] else "fxprune"
        click.echo(f"{kind} {job[0]}: {facts['total_seconds']} s", err=True)
        return facts

    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(work, jobs))
    rows = found[: len(names)]
    for row, theirs in zip(rows, found[len(names) :], strict=False):
        row["peer"] = theirs
    return rows


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(ZOO)))
@click.option("--hand-written/--no-hand-written", default=True, help="Run those that are of no library too.")
@click.option("--peer/--no-peer", default=True, help="Run Torch-Pruning beside.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds a row may take.")
@click.option("--check", is_flag=True, help="Exit 1 if a target of the project is missed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON to this file too.")
def main(
    names: tuple[str, ...],
    hand_written: bool,
    peer: bool,
    timeout: float,
    check: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Print one row an architecture and the totals."""
    machine, start = Machine.of_now(), perf_counter()
    rows = run_all(names or list(ZOO if hand_written else LIBRARY), peer=peer, timeout=timeout)
    library = [row for row in rows if row["name"] in LIBRARY]
    others = [row for row in rows if row["name"] not in LIBRARY]
    sums = {"library": totals(library), "hand_written": totals(others)}
    facts = {"machine": str(machine), "seconds": round(perf_counter() - start), "totals": sums, "rows": rows}
    text = json.dumps(facts, indent=1)
    if output is not None:
        atomic_write(output, text + "\n")
    if as_json:
        click.echo(text)
    else:
        out = console()
        for title, part in (("Architectures of the library", library), ("Hand-written", others)):
            if part:
                out.print(table_of(title, part))
                out.print(totals_text(totals(part)))
        out.print(f"{facts['seconds']} s; {machine}")
    if check and (faults := missed(sums["library"]) if not names else missed_rows(rows)):
        click.echo("; ".join(faults), err=True)
        raise SystemExit(1)


def missed_rows(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the rows in which something is wrong that no sentence explains."""
    return [f"{row['name']}: wrong" for row in rows if totals([row])["silently wrong"]]


if __name__ == "__main__":
    main()
