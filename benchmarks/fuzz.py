"""Coverage-guided fuzzing of all that reads what a user gives: ``python -m benchmarks.fuzz --minutes 60``.

Each target is run by Atheris (libFuzzer) in a process of its own, with 5 s for an input and 2 GB for the process, and
is started again after a crash. What is looked for: an exception other than SerscopeError, a crash of the process, more
than 5 s, more memory; where memory ran out, the input is read once more by a process of its own, and is a finding if it
takes so much alone. A process that goes on beyond its time is ended, and is a finding that says where it was. The
minutes are those of all targets together: on two cores, two are fuzzed at once and need half as long. The corpus, the
findings (base64, for ``tests/fuzz_seeds``) and the totals are kept in ``--folder``, so that an hour can be run in
pieces; ``--replay FILE`` runs one input again.
"""

import argparse
import base64
import contextlib
import faulthandler
import hashlib
import importlib.util
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.fuzz_targets import TARGETS
from ser_core.errors import SerscopeError

TIME_S, MEMORY_MB, LONGEST = 5, 2048, 1 << 17
PROCESS_S = 40
"""How long a process goes on: code that Atheris has instrumented keeps memory of every input, which it else lets go."""
SPARE_S = 60
"""What a process may take beyond that, to import what it instruments and to read its corpus."""


# --- one process, one target -----------------------------------------------------------------------------------------


def signature(fault: BaseException) -> str:
    """Return the kind of a fault and the innermost line of ours that it came through."""
    frames = [f for f in traceback.extract_tb(fault.__traceback__) if "/site-packages/" not in f.filename]
    last = frames[-1]
    return f"{type(fault).__name__} in {Path(last.filename).name}:{last.name}:{last.lineno}"


def seed_text(content: bytes) -> str:
    """Return bytes as base64 in lines, as ``tests/fuzz_seeds`` keeps them."""
    return base64.encodebytes(content).decode()


def _work(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one target; ends the process."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    target = TARGETS[name]
    with atheris.instrument_imports(include=list(target.modules)):
        for module in target.modules:
            importlib.import_module(module)
    corpus, findings = folder / "corpus" / name, folder / "findings"
    for each in (corpus, findings):
        each.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / f"seed-{hashlib.sha256(seed).hexdigest()[:12]}").write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            target.read(data)
        except SerscopeError:
            pass
        except Exception as fault:
            said = signature(fault)
            kept = findings / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:8]}.b64"
            if not kept.exists():
                kept.write_text(f"# {said}: {str(fault)[:200]!r}\n{seed_text(data)}")

    given = [f"-max_total_time={seconds}", f"-timeout={TIME_S}", f"-rss_limit_mb={MEMORY_MB}", f"-max_len={LONGEST}"]
    given += [f"-artifact_prefix={findings}/{name}-", "-print_final_stats=1", "-reload=0"]
    if target.words:
        words = folder / f"{name}.dict"
        words.write_text("".join(f'"{word}"\n' for word in target.words))
        given.append(f"-dict={words}")
    faulthandler.dump_traceback_later(seconds + SPARE_S - 5)
    atheris.Setup([sys.argv[0], str(corpus), *given], one)
    atheris.Fuzz()


def replay(name: str, data: bytes) -> str:
    """Run one input again in this process and return what came of it: the time is this process's own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    started = time.process_time()
    try:
        TARGETS[name].read(data)
        said = "read"
    except SerscopeError as fault:
        said = f"refused: {fault}"
    except Exception as fault:
        said = f"FAULT {signature(fault)}: {fault}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{time.process_time() - started:.2f} s of the processor, {peak:.0f} MB at most: {said}"


# --- all targets -----------------------------------------------------------------------------------------------------


def fuzz(names: Sequence[str], minutes: float, folder: Path, at_once: int = 1) -> dict[str, dict[str, Any]]:
    """Fuzz targets, so many at once, each for its share of the time, and add what was done to the folder's totals."""
    from ser_core.files import write_text

    store, writing = folder / "totals.json", threading.Lock()
    folder.mkdir(parents=True, exist_ok=True)
    totals: dict[str, dict[str, Any]] = json.loads(store.read_text()) if store.exists() else {}
    for name in names:
        totals.setdefault(name, {"seconds": 0.0, "inputs": 0, "edges": 0, "peak_mb": 0, "stops": []})

    def one(name: str) -> None:
        until = time.monotonic() + 60 * minutes / len(names)
        while (left := until - time.monotonic()) > 2:
            can_go_on = _once(name, int(min(left, PROCESS_S)), folder, totals[name])
            with writing:
                write_text(store, json.dumps(totals, indent=2))
            if not can_go_on:
                break

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, names))
    return totals


def _once(name: str, seconds: int, folder: Path, total: dict[str, Any]) -> bool:
    """Fuzz one target in one process and add to its totals; returns whether another process could do more."""
    from ser_core.files import write_text

    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.fuzz", "--folder", str(folder), "--work", name]
    code, said = run_process([*command, "--seconds", str(seconds)], seconds + SPARE_S)
    took = time.monotonic() - started
    inputs = _last(r"stat::number_of_executed_units: (\d+)", said) or _last(r"#(\d+)\s", said)
    peak_mb = _last(r"stat::peak_rss_mb:\s+(\d+)", said) or _last(r"rss: (\d+)Mb", said)
    stops, file = [], re.findall(r"Test unit written to (\S+)", said)
    if code is None:
        kept = folder / "findings" / f"{name}-overrun-{hashlib.sha256(said.encode()).hexdigest()[:8]}.txt"
        kept.parent.mkdir(exist_ok=True)
        write_text(kept, said)
        stops.append(f"went on {SPARE_S} s beyond its time {kept.name}")
    elif code:
        why = re.findall(r"ERROR: (.*)|^(\w+Error: .*)", said, re.MULTILINE)
        stops.append(f"{' '.join(why[-1]).strip() if why else said[-300:]} {Path(file[-1]).name if file else ''}")
        if file and "-oom-" in file[-1] and _peak_alone(name, Path(file[-1])) < MEMORY_MB:
            Path(file[-1]).unlink()
            stops[-1] += " (only after many others)"
    for stop in stops:
        print(f"{name}: {stop}", flush=True)
    # In one step each: another target's thread writes the totals out meanwhile.
    total.update(
        seconds=total["seconds"] + took,
        inputs=total["inputs"] + inputs,
        edges=max(total["edges"], _last(r" cov: (\d+)", said)),
        peak_mb=max(total["peak_mb"], peak_mb),
        stops=[*total["stops"], *stops],
    )
    return not code or bool(file) or took >= 20


def run_process(command: Sequence[str], limit_s: float) -> tuple[int | None, str]:
    """Run a command and end all that it has started; return its exit code, None where it took longer, and its errors.

    They go to a file: a pipe would be held open, and waited for, by what the command has started and left behind.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        code = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(limit_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        errors.seek(0)
        return code, errors.read().decode(errors="replace")


def _peak_alone(name: str, file: Path) -> float:
    """Return the memory in MB that one input takes at most in a process of its own; without end where that ends."""
    command = [sys.executable, "-m", "benchmarks.fuzz", "--targets", name, "--replay", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return _last(r", (\d+) MB at most", done.stdout) or float("inf")


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def summary(totals: dict[str, dict[str, Any]], folder: Path) -> str:
    """Return the totals of all runs in a folder as Markdown, and the findings that are kept there."""
    rows = ["| target | minutes | inputs | edges reached | peak memory |", "|---|---|---|---|---|"]
    for name, total in sorted(totals.items()):
        minutes = total["seconds"] / 60
        rows.append(f"| {name} | {minutes:.1f} | {total['inputs']:,} | {total['edges']:,} | {total['peak_mb']:,} MB |")
    minutes = sum(total["seconds"] for total in totals.values()) / 60
    rows.append(f"| all | {minutes:.1f} | {sum(total['inputs'] for total in totals.values()):,} | | |")
    kept = sorted(path for path in (folder / "findings").glob("*") if "slow-unit" not in path.name)
    return "\n".join([*rows, "", f"Findings in {folder}/findings: {len(kept)}", *(f"- {path.name}" for path in kept)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; returns 0 where nothing was found, 1 where something was, 2 without a fuzzer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="of all targets together (default %(default)s)")
    parser.add_argument(
        "--at-once", type=int, default=os.cpu_count() or 1, help="targets that are fuzzed at once (default: the cores)"
    )
    parser.add_argument("--targets", nargs="+", choices=tuple(TARGETS), default=list(TARGETS))
    parser.add_argument("--folder", type=Path, default=Path("runs/fuzz"), help="corpus, findings and totals")
    parser.add_argument("--replay", type=Path, help="run one input of the only target named again")
    parser.add_argument("--work", choices=tuple(TARGETS), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=60, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.replay:
        content = options.replay.read_bytes()
        if options.replay.suffix == ".b64":
            content = read_seed(options.replay)
        print(replay(options.targets[0], content))
        return 0
    if importlib.util.find_spec("atheris") is None:
        print(
            "error: the fuzzer Atheris is not installed; its wheel is for Linux on x86-64 and comes with 'make test'.",
            file=sys.stderr,
        )
        return 2
    if options.work:
        _work(options.work, options.seconds, options.folder)
    totals = fuzz(options.targets, options.minutes, options.folder, options.at_once)
    told = summary(totals, options.folder)
    print(told)
    return int(bool(re.search(r"^- ", told, re.MULTILINE)))


def read_seed(path: Path) -> bytes:
    """Return the bytes of a kept finding; lines that begin with # are remarks."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return base64.b64decode("".join(lines))


if __name__ == "__main__":
    sys.exit(main())
