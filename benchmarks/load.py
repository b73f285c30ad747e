"""Many readers at once, over Streamlit's own protocol: ``python -m benchmarks.load [--sessions 30] [--minutes 30]``.

Starts a server of its own and lets readers visit it who each take a sample, wait for its explanation, look at it again
a few times, forget it and take the next, with time to think in between. Prints what they waited for, what was lost, and
the memory of the server with its worker processes: after one explanation, at most, over time, and when all have gone.
"""

import argparse
import asyncio
import itertools
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.app_speed import server

PATIENCE_S = 300.0
GONE_S = 75
LOOKS = 3
LIGHT_S, GROWN, UNFAIR = 1.0, 1.1, 3.0
"""A run that changes nothing takes at most so long in 95 of 100; the last third may hold that many times the first; no
reader waits on average more than that many times as long as the median reader."""
TAKE, FORGET, DONE = "Explain this clip", "Forget this clip", "Report (PDF)"
WHOLE = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)


@dataclass
class Waits:
    """Seconds that readers waited, and what they lost, in words."""

    light: list[float] = field(default_factory=list)
    rush: list[float] = field(default_factory=list)
    explanations: list[float] = field(default_factory=list)
    of_readers: list[list[float]] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class Reader:
    """One browser's worth of the protocol: what is on the page, and what a press of a button sends."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.page: dict[tuple[int, ...], tuple[str, str]] = {}
        self.faults: list[str] = []

    async def run(self, pressed: str | None = None) -> float:
        """Let the page run, by the press of a button where one is named, to its end; return the seconds it took."""
        message = BackMsg()
        if pressed is None:
            message.rerun_script.query_string = ""
        else:
            message.rerun_script.widget_states.widgets.add(id=pressed, trigger_value=True)
        begun = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        while True:
            data = await asyncio.wait_for(self.socket.recv(), PATIENCE_S)
            got = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
            kind = got.WhichOneof("type")
            if kind == "new_session":
                self.page, self.faults = {}, []
            elif kind == "delta" and got.delta.WhichOneof("type") == "new_element":
                self._take(tuple(got.metadata.delta_path), got.delta.new_element)
            elif kind == "script_finished" and got.script_finished in WHOLE:
                return time.perf_counter() - begun

    def _take(self, path: tuple[int, ...], element: object) -> None:
        kind = element.WhichOneof("type")
        self.page.pop(path, None)
        if kind in ("button", "download_button"):
            held = getattr(element, kind)
            self.page[path] = (held.label, held.id)
        elif kind == "alert" and element.alert.format == element.alert.ERROR:
            self.faults.append(element.alert.body)

    def buttons(self, label: str) -> list[str]:
        """Return the ids of the buttons of that label."""
        return [found for name, found in self.page.values() if name == label]


async def visit(address: str, waits: Waits, until: float, think_s: float, draw: random.Random) -> None:
    """Be one reader until the time is over."""

    async def think() -> None:
        await asyncio.sleep(draw.uniform(0.5, 1.5) * think_s)

    stream = address.replace("http", "ws") + "/_stcore/stream"
    await asyncio.sleep(draw.uniform(0, think_s))
    try:
        async with connect(stream, origin=address, subprotocols=["streamlit"], max_size=None) as socket:
            reader = Reader(socket)
            await reader.run()
            explained, mine = False, []
            waits.of_readers.append(mine)
            while True:
                samples = reader.buttons(TAKE)
                if not samples:
                    waits.lost.append("a landing page without samples")
                    return
                took = await reader.run(draw.choice(samples))
                if reader.buttons(DONE):
                    (waits.explanations if explained else waits.rush).append(took)
                    mine.append(took)
                    waits.spans.append((time.monotonic() - took, time.monotonic()))
                    explained = True
                else:
                    waits.lost.append(reader.faults[0] if reader.faults else "an explanation that did not come")
                for _ in range(LOOKS):
                    await think()
                    waits.light.append(await reader.run())
                await think()
                waits.light.append(await reader.run(reader.buttons(FORGET)[0]))
                if time.monotonic() > until:
                    return
                await think()
    except (OSError, TimeoutError, IndexError) as fault:
        waits.lost.append(f"{type(fault).__name__} {fault}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--think", type=float, default=10.0, help="seconds between what a reader does, ± half")
    chosen = parser.parse_args(arguments)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{chosen.sessions} sessions, {chosen.think:g} s to think, {chosen.minutes:g} minutes; "
        f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores, load before {load}",
        flush=True,
    )
    with server() as (address, *_):
        root = children(os.getpid())[0]
        first = Waits()
        asyncio.run(visit(address, first, 0.0, 1.0, random.Random(0)))
        base = memory_mb(root)
        print(f"first explanation {_share(first.rush, 0.0):.1f} s, memory then {base:.0f} MB", flush=True)
        waits, seen = Waits(), watched(root)
        until = time.monotonic() + 60 * chosen.minutes

        async def all_readers() -> None:
            draws = (random.Random(number) for number in itertools.count(1))
            readers = [visit(address, waits, until, chosen.think, next(draws)) for _ in range(chosen.sessions)]
            await asyncio.gather(*readers)

        asyncio.run(all_readers())
        during = seen()
        time.sleep(GONE_S)
        after = memory_mb(root)
    if not _tell(waits, base, during, after):
        raise SystemExit(1)


def overtaken(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Return by how many explanations that were asked for later each one was overtaken, from (asked, came) in s."""
    return [sum(asked > mine and came < done for asked, came in spans) for mine, done in spans]


def _tell(waits: Waits, base: float, during: list[float], after: float) -> bool:
    """Print what was measured; return whether it is what is promised."""
    light = sorted(waits.light)
    print(f"light reruns: {len(light)}, p50 {_share(light, 0.5):.2f} s, p95 {_share(light, 0.95):.2f} s")
    # All readers come within seconds of one another: there the last waits for everybody's, however fair the queue.
    for kind, taken in (("first of each reader", waits.rush), ("later", waits.explanations)):
        heavy = sorted(taken)
        print(
            f"explanations, {kind}: {len(heavy)}, waits p50 {_share(heavy, 0.5):.1f} s, p95 {_share(heavy, 0.95):.1f} "
            f"s, longest {_share(heavy, 1.0):.1f} s, longest / median "
            f"{_share(heavy, 1.0) / max(1e-9, _share(heavy, 0.5)):.1f}"
        )
    readers = sorted(statistics.mean(each) for each in waits.of_readers if each)
    longest = _share(readers, 1.0) / max(1e-9, _share(readers, 0.5))
    print(
        f"mean wait of each reader: p50 {_share(readers, 0.5):.1f} s, longest {_share(readers, 1.0):.1f} s, "
        f"longest / median {longest:.1f}"
    )
    passed = sorted(overtaken(waits.spans))
    print(f"overtaken by later ones: p50 {_share(passed, 0.5)}, p95 {_share(passed, 0.95)}, most {_share(passed, 1.0)}")
    print(f"lost: {len(waits.lost)}")
    for words in sorted(set(waits.lost)):
        print(f"  {waits.lost.count(words)} × {words}")
    thirds = [statistics.mean(part) for part in _in_three(during)]
    print(
        f"memory: {base:.0f} MB after the first explanation, at most {max(during):.0f} MB, mean of each third "
        f"{', '.join(f'{value:.0f}' for value in thirds)} MB, {after:.0f} MB when all have been gone for {GONE_S} s"
    )
    quick, steady = _share(light, 0.95) <= LIGHT_S, thirds[2] <= thirds[0] * GROWN
    return not waits.lost and quick and steady and longest <= UNFAIR


def _share(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def _in_three(values: list[float]) -> list[list[float]]:
    size = max(1, len(values) // 3)
    return [values[:size], values[size : 2 * size] or values[-1:], values[2 * size :] or values[-1:]]


def memory_mb(process: int) -> float:
    """Return the memory of its own (anonymous pages) of a process and all that it started, in MB."""
    total = 0.0
    for each in (process, *children(process)):
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        total += int(fields.get("RssAnon", "0 kB").split()[0]) / 1024
    return total


def children(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*"):
        try:
            started = [int(name) for name in (task / "children").read_text().split()]
        except OSError:
            continue
        for each in started:
            found += [each, *children(each)]
    return found


def watched(process: int, every_s: float = 5.0) -> Callable[[], list[float]]:
    """Note the memory every so many seconds; the returned function ends that and gives what was noted."""
    noted, over = [memory_mb(process)], threading.Event()

    def note() -> None:
        while not over.wait(every_s):
            noted.append(memory_mb(process))

    watch = threading.Thread(target=note)
    watch.start()

    def end() -> list[float]:
        over.set()
        watch.join()
        return noted

    return end


if __name__ == "__main__":
    main()
