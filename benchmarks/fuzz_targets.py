"""What :mod:`benchmarks.fuzz` fuzzes: how each kind of file is read, and small good files to begin with."""

import functools
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_core.errors import SerscopeError

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

    if not _is_parquet(data):
        read_predictions(data, "table")


def _conditions(data: bytes) -> None:
    from ser_core.predictions import read_conditions

    if not _is_parquet(data):
        read_conditions(data, "table")


def _is_parquet(data: bytes) -> bool:
    """Return whether another process would read the table, which has a target of its own that reads it in this one."""
    return data[:4] == b"PAR1"


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
        registry.load_model(folder)


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


def _worsened() -> list[bytes]:
    import pandas as pd

    found = []
    for table in _tables(False)[:2]:
        clean = pd.read_csv(io.BytesIO(table))
        both = pd.concat([clean.assign(condition="clean"), clean.assign(condition="street")])
        found.append(both.to_csv(index=False).encode())
    return found


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
    from explain.export_json import to_json
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
    "conditions": Target(_conditions, _OWN, _worsened, (*_COLUMNS, "condition", "clean")),
    "parquet": Target(_parquet, (*_OWN, "ser_core.parquet"), functools.partial(_tables, True), _COLUMNS),
    "report": Target(
        _reopen,
        ("explain.reopen", "explain.export_json", "explain.text_files"),
        _reports,
        ("inf", "null", "dtype", "shape", "1e999"),
    ),
    "pdf": Target(
        _reopen, ("explain.reopen", "explain.export_json", "pypdf"), _pdfs, ("/EmbeddedFiles", "/FlateDecode", "/Kids")
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
