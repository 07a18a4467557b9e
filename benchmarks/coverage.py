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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from time import perf_counter
from typing import Any

import click
from common import Machine, console
from coverage_table import Row, missed, reasons_text, table_of, totals, totals_text

from fxprune.atomic import atomic_write

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from zoo import LIBRARY, ZOO

HERE = Path(__file__).parent
WORKERS = 2
PEER_TIMEOUT = 60.0  # it takes seconds where it ends at all


def run_row(name: str, *, peer: bool, timeout: float) -> Row:
    """Run one row in a fresh process; what it prints last is its JSON."""
    command = [sys.executable, str(HERE / "coverage_row.py"), name, *(["--peer"] if peer else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    start = perf_counter()
    facts: Row
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


def run_all(
    names: Sequence[str], *, peer: bool, timeout: float, known: Mapping[str, Row], done: Callable[[list[Row]], None]
) -> list[Row]:
    """Run all rows that are not known, two at a time; after each tell how far it is, and hand out what there is."""
    rows: dict[str, Row] = {name: dict(known[name]) for name in names if name in known}
    jobs = [(name, False) for name in names if name not in rows]
    jobs += [(name, True) for name in names if peer and "peer" not in rows.get(name, {})]
    with ThreadPoolExecutor(WORKERS) as pool:
        running = {
            pool.submit(run_row, name, peer=theirs, timeout=PEER_TIMEOUT if theirs else timeout): (name, theirs)
            for name, theirs in jobs
        }
        for finished in as_completed(running):
            name, theirs = running[finished]
            facts = finished.result()
            if theirs:
                rows.setdefault(name, {"name": name})["peer"] = facts
            else:
                rows[name] = facts | {key: value for key, value in rows.get(name, {}).items() if key == "peer"}
            click.echo(f"{'Torch-Pruning' if theirs else 'fxprune'} {name}: {facts['total_seconds']} s", err=True)
            done([rows[name] for name in names if name in rows])
    return [rows[name] for name in names]


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(ZOO)))
@click.option("--hand-written/--no-hand-written", default=True, help="Run those that are of no library too.")
@click.option("--peer/--no-peer", default=True, help="Run Torch-Pruning beside.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds a row may take.")
@click.option("--check", is_flag=True, help="Exit 1 if a target of the project is missed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON to this file too, after every row.")
@click.option("--resume", is_flag=True, help="Keep the rows that --output holds already.")
def main(
    names: tuple[str, ...],
    hand_written: bool,
    peer: bool,
    timeout: float,
    check: bool,
    as_json: bool,
    output: Path | None,
    resume: bool,
) -> None:
    """Print one row an architecture and the totals."""
    machine, start = Machine.of_now(), perf_counter()
    known = json.loads(output.read_text())["rows"] if resume and output is not None and output.is_file() else []

    def written(rows: list[Row]) -> dict[str, Any]:
        facts = {"machine": str(machine), "seconds": round(perf_counter() - start), **summary(rows), "rows": rows}
        if output is not None:
            atomic_write(output, json.dumps(facts, indent=1) + "\n")
        return facts

    wanted = names or list(ZOO if hand_written else LIBRARY)
    rows = run_all(wanted, peer=peer, timeout=timeout, known={row["name"]: row for row in known}, done=written)
    facts = written(rows)
    library, others = parts(rows)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        out = console()
        for title, part in (("Architectures of the library", library), ("Hand-written", others)):
            if part:
                out.print(table_of(title, part))
                out.print(reasons_text(part), markup=False)
                out.print(totals_text(totals(part)))
        out.print(f"{facts['seconds']} s; {machine}")
    if check and (faults := missed(totals(library)) if not names else missed_rows(rows)):
        click.echo("; ".join(faults), err=True)
        raise SystemExit(1)


def parts(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Split rows into those of the library and the hand-written ones."""
    return [row for row in rows if row["name"] in LIBRARY], [row for row in rows if row["name"] not in LIBRARY]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the totals of both."""
    library, others = parts(rows)
    return {"totals": {"library": totals(library), "hand_written": totals(others)}}


def missed_rows(rows: Sequence[Row]) -> list[str]:
    """Return the rows in which something is wrong that no sentence explains."""
    return [f"{row['name']}: wrong" for row in rows if totals([row])["silently wrong"]]


if __name__ == "__main__":
    main()
