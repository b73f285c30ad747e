"""Coverage-guided fuzzing of all that reads what a user gives: ``python -m benchmarks.fuzz --minutes 60``.

Each target is run by Atheris (libFuzzer) in a process of its own, with 5 s for an input and 2 GB for the process, and
is started again after a crash. What is looked for: an exception other than SerscopeError, a crash of the process, more
than 5 s, more memory. The corpus, the findings (base64, for ``tests/fuzz_seeds``) and the totals are kept in
``--folder``, so that an hour can be run in pieces; ``--replay FILE`` runs one input again.
"""

import argparse
import base64
import functools
import hashlib
import importlib.util
import io
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ser_core.errors import SerscopeError

TIME_S, MEMORY_MB, LONGEST = 5, 2048, 1 << 17
CLIP_S = 20.0
SPLIT = b"\n--weights--\n"


@dataclass(frozen=True)
class Target:
    """What is fuzzed: how bytes are read, where the coverage counts, and small good files to begin with."""

    read: Callable[[bytes], object]
    modules: tuple[str, ...]
    seeds: Callable[[], list[bytes]]
    words: tuple[str, ...] = ()


# --- what reads ------------------------------------------------------------------------------------------------------


def _decode(data: bytes) -> None:
    from ser_core.audio import decode

    decode(data, "clip", max_seconds=CLIP_S)


def _decode_in_pieces(data: bytes) -> None:
    from ser_core.long_audio import long_sound

    sound = long_sound(data, "session")
    for place, block in enumerate(sound.blocks()):
        if place * len(block) > CLIP_S * 16_000:
            break


def _predictions(data: bytes) -> None:
    from ser_core.predictions import read_predictions

    read_predictions(data, "table")


def _parquet(data: bytes) -> None:
    import pyarrow as pa

    from ser_core.parquet import stream
    from ser_core.predictions import checked

    try:
        table = pa.ipc.open_stream(stream(data, 10_000, 50)).read_all().to_pandas(ignore_metadata=True)
    except (ValueError, pa.ArrowException) as fault:
        raise SerscopeError(str(fault)) from fault
    checked(table)


def _reopen(data: bytes) -> None:
    from explain.reopen import reopen

    reopen(data)


def _unzip(data: bytes) -> None:
    from explain.batch import given

    for clip in given([("clips.zip", b"PK\x03\x04" + data[4:])])[:3]:
        try:
            clip.load()
        except SerscopeError:
            continue


def _listed(data: bytes) -> None:
    from explain.batch import in_csv

    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        table = Path(folder) / "clips.csv"
        table.write_bytes(data)
        for clip in in_csv(table)[:3]:
            try:
                clip.load()
            except SerscopeError:
                continue


def _text_grid(data: bytes) -> None:
    from ser_core.word_times import text_grid_words

    text_grid_words(data.decode("utf-8-sig", "replace"))


def _model_folder(data: bytes) -> None:
    from ser_core import registry

    card, _, weights = data.partition(SPLIT)
    with tempfile.TemporaryDirectory(dir=_memory()) as made:
        folder = Path(made) / "model"
        folder.mkdir()
        (folder / "card.json").write_bytes(card)
        (folder / "weights.safetensors").write_bytes(weights)
        registry.drop_loaded()
        registry.load(folder)


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


# --- small good files ------------------------------------------------------------------------------------------------


@functools.cache
def _short_voice(rate: int = 16_000) -> np.ndarray:
    from tests.bad_inputs import voice

    return voice(0.5, rate, pause_s=0.1)


def _sounds(container: str) -> list[bytes]:
    from tests import bad_inputs as made

    clip, stereo = _short_voice(), np.stack([_short_voice(), -0.5 * _short_voice()], axis=1)
    if container == "wav":
        kinds = ("PCM_16", "PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")
        return [made.wav(clip, subtype=kind) for kind in kinds] + [
            made.wav(stereo),
            made.placeholder_length(made.wav(clip)),
        ]
    if container == "flac":
        return [made.flac(clip), made.flac(stereo), made.unstated_length(made.flac(clip))]
    if container == "mp3":
        return [made.wav(clip, subtype="MPEG_LAYER_III", container="MP3"), made.ffmpeg(clip, 16_000, "mp3", "mp3")]
    if container == "ogg":
        return [made.wav(clip, subtype=kind, container="OGG") for kind in ("VORBIS", "OPUS")]
    if container == "m4a":
        wide = _short_voice(48_000)
        return [
            made.ffmpeg(clip, 16_000, "ipod", "aac"),
            made.ffmpeg(clip, 16_000, "mov", "pcm_s16le"),
            made.ffmpeg(wide, 48_000, "mp4", "libopus"),
            made.ffmpeg(clip, 16_000, "ipod", "alac"),
            made.film_without_sound(),
        ]
    if container == "webm":
        wide = _short_voice(48_000)
        return [made.ffmpeg(wide, 48_000, "webm", "libopus", live) for live in (True, False)] + [
            made.ffmpeg(clip, 16_000, "matroska", "flac"),
            made.ffmpeg(clip, 16_000, "matroska", "aac"),
        ]
    return [
        made.ffmpeg(clip, 16_000, "adts", "aac"),
        made.ffmpeg(clip, 16_000, "avi", "pcm_s16le"),
        *(made.wav(clip, container=kind) for kind in ("AIFF", "AU", "CAF", "NIST")),
    ]


def _tables(parquet: bool) -> list[bytes]:
    import pandas as pd

    rows = pd.DataFrame(
        {
            "file": ["a.wav", "b.wav", "c.wav"],
            "speaker": ["s1", "s2", "s2"],
            "emotion": ["anger", "neutral", "Anger"],
            "p_anger": [0.7, 0.2, 1e-3],
            "p_neutral": [0.3, 0.8, 0.999],
            "sex": ["f", "m", "male"],
            "age": [30.0, 41.0, 41.0],
        }
    )
    rated = pd.DataFrame(
        {
            "clip": ["a", "b"],
            "spk": ["1", "2"],
            "d_valence": [0.1, -1.0],
            "t_valence": [0.5, 0.25],
            "corpus": ["x", "y"],
        }
    )
    found = []
    for table in (rows, rated, rows.assign(emotion=rows["emotion"].astype("category"), age=[1, 2, 3])):
        if not parquet:
            found += [table.to_csv(index=False).encode(), table.to_csv(index=False, sep=";").encode("utf-8-sig")]
        for compression in ("snappy", "zstd", None) if parquet else ():
            out = io.BytesIO()
            table.to_parquet(out, index=False, compression=compression)
            found.append(out.getvalue())
    return found


def _reports() -> list[bytes]:
    from explain.export import to_json
    from tests.explanations import example_explanation

    return [to_json(example_explanation(axes=axes)).encode() for axes in ("time_frequency", "time", "features")]


def _pdfs() -> list[bytes]:
    """Return a small PDF with our attachment; a whole report would be more than the fuzzer changes in a useful time."""
    import pypdf

    from explain.report import ATTACHMENT

    found = []
    for content in (_reports()[2], b"{}", b"\xff"):
        writer, out = pypdf.PdfWriter(), io.BytesIO()
        writer.add_blank_page(100, 100)
        writer.add_attachment(ATTACHMENT, content)
        writer.compress_identical_objects()
        writer.write(out)
        found.append(out.getvalue())
    return found


def _archives() -> list[bytes]:
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as file:
            file.writestr("a/b.wav", _sounds("wav")[0])
            file.writestr("../c.flac", _sounds("flac")[0])
            file.writestr("notes.txt", "x")
        found.append(out.getvalue())
    return found


def _model_folders() -> list[bytes]:
    from ser_core.settings import ASSETS

    found = []
    for name in ("egemaps-logistic", "egemaps-mlp"):
        folder = ASSETS / "models" / name
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        card["figures"] = card["figures"][:1]
        card.pop("sha256", None)
        found.append(json.dumps(card).encode() + SPLIT + (folder / "weights.safetensors").read_bytes())
    return found


GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "so ""it"" is"
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = ""
"""
_SHORT_GRID = (
    '"ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n2\n"IntervalTier"\n"words"\n0\n1\n1\n0\n1\n"a"\n'
    '"TextTier"\n"p"\n0\n1\n1\n0.5\n"x"\n'
)

_AUDIO = ("ser_core.containers", "ser_core.audio", "ser_core.clipping", "ser_core.long_audio")
_OWN = ("ser_core.predictions", "ser_core.evaluation")
_COLUMNS = (
    "p_anger",
    "d_valence",
    "t_valence",
    "speaker",
    "emotion",
    "file",
    "sex",
    "age",
    "corpus",
    "nan",
    "inf",
    "1e999",
)
TARGETS = {
    **{
        kind: Target(_decode, _AUDIO, functools.partial(_sounds, kind))
        for kind in ("wav", "flac", "mp3", "ogg", "m4a", "webm", "other")
    },
    "session": Target(_decode_in_pieces, _AUDIO, lambda: _sounds("flac") + _sounds("wav")[:1] + _sounds("m4a")[:1]),
    "predictions": Target(_predictions, _OWN, functools.partial(_tables, False), _COLUMNS),
    "parquet": Target(_parquet, (*_OWN, "ser_core.parquet"), functools.partial(_tables, True), _COLUMNS),
    "report": Target(
        _reopen,
        ("explain.reopen", "explain.export", "explain.text_files"),
        _reports,
        ("inf", "null", "dtype", "shape", "1e999"),
    ),
    "pdf": Target(
        _reopen, ("explain.reopen", "explain.export", "pypdf"), _pdfs, ("/EmbeddedFiles", "/FlateDecode", "/Kids")
    ),
    "zip": Target(_unzip, ("explain.batch", "zipfile"), _archives),
    "list": Target(
        _listed, ("explain.batch", "csv"), lambda: [b"file,speaker\na.wav,s1\n../b.wav,s2\n/etc/passwd,x\n"]
    ),
    "textgrid": Target(
        _text_grid, ("ser_core.word_times",), lambda: [GRID.encode(), _SHORT_GRID.encode()], ("1e999", "<exists>")
    ),
    "model": Target(
        _model_folder,
        ("ser_core.registry", "ser_core.cards", "ser_core.systems.functionals_classifier"),
        _model_folders,
    ),
}


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


def fuzz(names: Sequence[str], minutes: float, folder: Path) -> dict[str, dict[str, Any]]:
    """Fuzz targets in turn, each for its share of the time, and add what was done to the folder's totals."""
    from ser_core.files import write_text

    store = folder / "totals.json"
    folder.mkdir(parents=True, exist_ok=True)
    totals: dict[str, dict[str, Any]] = json.loads(store.read_text()) if store.exists() else {}
    for name in names:
        until = time.monotonic() + 60 * minutes / len(names)
        while (left := until - time.monotonic()) > 2:
            started = time.monotonic()
            command = [sys.executable, "-m", "benchmarks.fuzz", "--folder", str(folder), "--work", name]
            done = subprocess.run(
                [*command, "--seconds", str(int(left))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
            )
            said = done.stderr.decode(errors="replace")
            total = totals.setdefault(name, {"seconds": 0.0, "inputs": 0, "edges": 0, "peak_mb": 0, "stops": []})
            total["seconds"] += time.monotonic() - started
            total["inputs"] += _last(r"stat::number_of_executed_units: (\d+)", said) or _last(r"#(\d+)\s", said)
            total["edges"] = max(total["edges"], _last(r" cov: (\d+)", said))
            total["peak_mb"] = max(
                total["peak_mb"], _last(r"stat::peak_rss_mb:\s+(\d+)", said) or _last(r"rss: (\d+)Mb", said)
            )
            if done.returncode:
                why = re.findall(r"ERROR: (.*)|^(\w+Error: .*)", said, re.MULTILINE)
                file = re.findall(r"Test unit written to (\S+)", said)
                total["stops"].append(
                    f"{' '.join(why[-1]).strip() if why else said[-300:]} {Path(file[-1]).name if file else ''}"
                )
                print(f"{name}: {total['stops'][-1]}", flush=True)
                if not file and time.monotonic() - started < 20:
                    break
            write_text(store, json.dumps(totals, indent=2))
    return totals


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
    totals = fuzz(options.targets, options.minutes, options.folder)
    told = summary(totals, options.folder)
    print(told)
    return int(bool(re.search(r"^- ", told, re.MULTILINE)))


def read_seed(path: Path) -> bytes:
    """Return the bytes of a kept finding; lines that begin with # are remarks."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return base64.b64decode("".join(lines))


if __name__ == "__main__":
    sys.exit(main())
