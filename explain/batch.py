"""Many clips: each explained as if it were alone, its answer, cues and verdicts in one row of a table.

A folder, a zip archive or a CSV of files gives the clips. A clip that cannot be read or explained keeps its row, with a
sentence instead of figures. Archives are read member by member and never unpacked: names in them are names only, and
their number, sizes and compression are bounded.
"""

import csv
import io
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explain.cues import ALL_REGIONS, CLIP, CUES, CueSettings
from explain.expert import SALIENT, tally
from explain.explanation import Explanation, explain, with_language
from explain.text_files import utf8
from explain.words import cue_name, one_way
from ser_core.audio import MAX_BYTES, Recording, clean_name, decode, read
from ser_core.errors import AudioError, SerscopeError, SettingError
from ser_core.familiarity import UNUSUAL
from ser_core.intended_use import COLUMN, in_a_cell

if TYPE_CHECKING:
    import pandas as pd

    from explain.trust import Trust
    from ser_core.audio import Recording
    from ser_core.models import Card, SpeechModel

MOST_CLIPS = 5_000
MOST_MEMBERS, MOST_MEMBER_BYTES, MOST_ARCHIVE_BYTES, MOST_RATIO = 5_000, 64 << 20, 1 << 30, 200
TOP_CUES = 3
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_ENDINGS = "wav flac mp3 ogg oga opus m4a aac mp4 3gp webm mka mkv wma amr aif aiff aifc au snd caf sph avi"
ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())
_UTF_8 = 0x800
FILE_COLUMNS = ("file", "path", "filename", "wav")


@dataclass(frozen=True, eq=False)
class Clip:
    """One clip of a batch: its name, how to get it, and what a CSV says about it beside the file."""

    name: str
    load: Callable[[], "Recording"]
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What is known of one clip; ``error`` is a sentence where nothing is, else "".

    outputs are probabilities by emotion, or values by dimension. entropy_bits is NaN for dimensions. top_cues are the
    cues in which the salient regions differ most from the rest of the speech, with Cliff's delta, those beyond chance
    first; those of which means and single values differ in opposite directions are left out. agree of compared counts
    the cues of the whole clip that go with the experts' table for the answer. verdict is the trust tests' ("holds",
    "weak", "fails", "cannot be decided"), "" where they were not run.
    """

    number: int
    file: str
    error: str = ""
    sha256: str = ""
    duration_s: float = math.nan
    answer: str = ""
    outputs: dict[str, float] = field(default_factory=dict)
    entropy_bits: float = math.nan
    explained: str = ""
    method: str = ""
    region_start_s: float = math.nan
    region_end_s: float = math.nan
    region_share: float = math.nan
    top_cues: tuple[tuple[str, float, bool], ...] = ()
    agree: int = 0
    compared: int = 0
    verdict: str = ""
    verdict_words: str = ""
    warnings: tuple[str, ...] = ()
    cues: dict[str, float] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)


# --- where the clips come from ---------------------------------------------------------------------------------------


def clips_of(source: Path) -> list[Clip]:
    """Return the clips of a folder (with its subfolders), a zip archive or a CSV with a column ``file``.

    Raises:
        SettingError: the source does not exist, holds no clip, or is none of the three.
    """
    if source.is_dir():
        return in_folder(source)
    if not source.is_file():
        raise SettingError(f"'{clean_name(source.name)}' does not exist; give a folder, a zip archive or a CSV.")
    if source.suffix.lower() == ".csv":
        return in_csv(source)
    if not zipfile.is_zipfile(source):
        raise SettingError(f"'{clean_name(source.name)}' is no folder, zip archive or CSV; give one of these.")
    return in_zip(source)


def in_folder(folder: Path) -> list[Clip]:
    """Return the audio files of a folder and its subfolders in order of name; links and hidden files are left out."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
        and path.resolve().is_relative_to(folder.resolve())
    )
    # A file name that is not UTF-8 can be opened, but neither printed nor written into a table.
    return _some([Clip(utf8(str(path.relative_to(folder))), _reader(path)) for path in files], folder.name)


def in_csv(table: Path) -> list[Clip]:
    """Return the clips that a CSV names, relative to its folder; its other columns go into the table of results.

    Raises:
        SettingError: it is no CSV, or has no column ``file``.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise SettingError(f"'{clean_name(table.name)}' cannot be read as a CSV in UTF-8; export it again.") from fault
    heads = {name.strip().lower(): name for name in reader.fieldnames or () if name}
    column = next((heads[name] for name in FILE_COLUMNS if name in heads), None)
    if column is None:
        raise SettingError(f"'{clean_name(table.name)}' needs a column 'file' with the path of each clip.")
    clips = []
    for row in rows:
        extra = {k: v for k, v in row.items() if k and k != column and isinstance(v, str)}
        clips.append(Clip(row[column] or "", _reader(table.parent / (row[column] or "")), extra))
    return _some(clips, table.name)


def in_zip(archive: Path | bytes, name: str = "archive.zip") -> list[Clip]:
    """Return the audio files of a zip archive in order of name; each is read when it is asked for.

    Raises:
        SettingError: it is no sound archive, or holds more than is read: 5,000 members or 1 GiB unpacked.
    """
    name = clean_name(archive.name if isinstance(archive, Path) else name)
    try:
        with zipfile.ZipFile(archive if isinstance(archive, Path) else io.BytesIO(archive)) as opened:
            members = [m for m in opened.infolist() if _is_clip(m)]
            count = len(opened.infolist())
    # A hostile archive can make the reader fail in any way; all of them mean the same here.
    except Exception as fault:
        raise SettingError(f"'{name}' is no zip archive that can be read; pack the clips again.") from fault
    if count > MOST_MEMBERS:
        raise SettingError(f"'{name}' holds {count:,} files and at most {MOST_MEMBERS:,} are read; split it.")
    total = sum(m.file_size for m in members)
    if total > MOST_ARCHIVE_BYTES:
        raise SettingError(
            f"'{name}' unpacks to {total / 2**20:,.0f} MiB and at most {MOST_ARCHIVE_BYTES >> 20:,} are read; split it."
        )
    found = [Clip(_inner_name(_stored_name(m)), partial(_read_member, archive, m)) for m in members]
    return _some(sorted(found, key=lambda clip: clip.name), name)


def _is_clip(member: zipfile.ZipInfo) -> bool:
    parts = member.filename.replace("\\", "/").split("/")
    hidden = any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in parts)
    # ZipInfo.is_dir fails on a name without letters.
    return bool(member.filename) and not member.is_dir() and not hidden and Path(parts[-1]).suffix.lower() in ENDINGS


def _stored_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name; macOS packs UTF-8 without the mark of it, which would be read as IBM's code page 437."""
    if member.flag_bits & _UTF_8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _inner_name(name: str) -> str:
    """Return a member's name for display: its folders and its base name, no way out of the archive."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(clean_name(part) for part in parts) or "recording"


def _read_member(archive: Path | bytes, member: zipfile.ZipInfo) -> "Recording":
    name = clean_name(_stored_name(member))
    if member.flag_bits & 1:
        raise AudioError(f"'{name}' is locked with a password; pack it without one.")
    if member.file_size > MOST_MEMBER_BYTES:
        raise AudioError(f"'{name}' unpacks to more than {MOST_MEMBER_BYTES >> 20} MiB; cut out the part you need.")
    if member.file_size > MOST_RATIO * max(1, member.compress_size) and member.file_size > 1 << 20:
        raise AudioError(f"'{name}' unpacks to over {MOST_RATIO} times its size, as no speech does; leave it out.")
    try:
        with (
            zipfile.ZipFile(archive if isinstance(archive, Path) else io.BytesIO(archive)) as opened,
            opened.open(member) as packed,
        ):
            # The size in the header may be a lie.
            data = packed.read(MOST_MEMBER_BYTES + 1)
    # As in ``in_zip``; each way of packing has errors of its own.
    except Exception:
        raise AudioError(
            f"'{name}' cannot be unpacked (it is damaged, or packed in a rare way); pack it again."
        ) from None
    if len(data) > MOST_MEMBER_BYTES:
        raise AudioError(f"'{name}' unpacks to more than {MOST_MEMBER_BYTES >> 20} MiB; cut out the part you need.")
    return decode(data, name)


def _reader(path: Path) -> Callable[[], "Recording"]:
    return lambda: read(path)


def given(files: Sequence[tuple[str, bytes]]) -> list[Clip]:
    """Return files in memory as clips; a zip archive among them gives its members, or a row that says why not.

    Raises:
        SettingError: there is none, or the only file is an archive that is refused.
    """
    found: list[Clip] = []
    for name, data in files:
        if data[:4] == b"PK\x03\x04" and len(data) <= MAX_BYTES:
            try:
                found += in_zip(data, name)
            except SettingError as fault:
                if len(files) == 1:
                    raise
                found.append(Clip(clean_name(name), partial(_refuse, str(fault))))
        else:
            found.append(Clip(clean_name(name), partial(decode, data, name)))
    return _some(found, "")


def _refuse(words: str) -> Recording:
    raise AudioError(words)


def _some(clips: list[Clip], where: str) -> list[Clip]:
    if not clips:
        inside = f" in '{clean_name(where)}'" if where else ""
        raise SettingError(f"No audio file was found{inside}; WAV, FLAC, MP3, OGG, M4A/AAC and WebM are read.")
    if len(clips) > MOST_CLIPS:
        raise SettingError(f"There are {len(clips):,} clips and at most {MOST_CLIPS:,} go into one table; split them.")
    seen: dict[str, int] = {}
    unique = []
    for clip in clips:
        seen[clip.name] = seen.get(clip.name, 0) + 1
        again = f" ({seen[clip.name]})" if seen[clip.name] > 1 else ""
        unique.append(replace(clip, name=clip.name + again))
    return unique


# --- rows ------------------------------------------------------------------------------------------------------------


def rows(
    clips: Sequence[Clip],
    model: "SpeechModel",
    method: str,
    settings: CueSettings | None = None,
    *,
    trust: str = "",
    progress: Callable[[float, str], None] | None = None,
    done: int = 0,
) -> Iterator[Row]:
    """Yield one row a clip, in order, each as soon as it is made; a clip that fails gives a row that says why.

    Args:
        clips: the clips.
        model: the model that answers.
        method: name of an attribution method that fits the model.
        settings: of the acoustic measurement.
        trust: "", "quick" or "full": which trust tests are run on every explanation.
        progress: told the share done (0 … 1) and what is being done; what it raises ends the work.
        done: how many of the clips, from the first on, have their rows already.
    """
    for number, clip in enumerate(clips[done:], start=done):

        def within(share: float, words: str, number: int = number, clip: Clip = clip) -> None:
            if progress is not None:
                progress((number + share) / len(clips), f"{number + 1} of {len(clips)}, {clip.name}: {words}")

        within(0.0, "reading")
        yield row(number, clip, model, method, settings, trust=trust, progress=within)


def row(
    number: int,
    clip: Clip,
    model: "SpeechModel",
    method: str,
    settings: CueSettings | None = None,
    *,
    trust: str = "",
    progress: Callable[[float, str], None] | None = None,
) -> Row:
    """Return one clip's row; the arguments are those of ``rows``."""
    tell = progress or (lambda share, words: None)
    half = 0.5 if trust else 1.0
    try:
        recording = clip.load()
        made = with_language(
            explain(recording, model, method, None, settings, progress=lambda s, words: tell(half * s, words))
        )
        tested = None
        if trust:
            from explain import trust as tests

            tested = tests.trust(
                model,
                recording,
                made.attribution,
                made.speech,
                regions=made.regions,
                quick=trust == "quick",
                progress=lambda s, words: tell(half + half * s, words),
            )
    except SerscopeError as fault:
        return Row(number, clip.name, error=str(fault), extra=clip.extra)
    except FAULTS as fault:
        # One clip that meets a fault of ours must not lose the others; what ``progress`` raises ends the work.
        words = f"Something went wrong inside SERscope ({type(fault).__name__}); try another method for this clip."
        return Row(number, clip.name, error=words, extra=clip.extra)
    return row_of(number, clip.name, made, tested, clip.extra)


def row_of(
    number: int, name: str, made: Explanation, tested: "Trust | None" = None, extra: dict[str, str] | None = None
) -> Row:
    """Return the row of an explanation and, where they were run, its trust tests."""
    asked = made.prediction
    dimensions = asked.values is not None
    first = made.regions[0] if made.regions else None
    places = {t.scope: t for t in tally(made.agreements) if t.emotion == asked.top}
    fit = places.get(CLIP) or places.get(SALIENT)
    near = asked.familiarity
    unusual = (near.sentence,) if near is not None and near.percentile >= UNUSUAL else ()
    return Row(
        number=number,
        file=name,
        sha256=made.recording.sha256,
        duration_s=made.recording.duration_s,
        answer="" if dimensions else asked.top,
        outputs={each: asked.value(each) if dimensions else asked.probability(each) for each in asked.emotions},
        entropy_bits=asked.entropy_bits,
        explained=made.target.name,
        method=made.attribution.method,
        region_start_s=math.nan if first is None else first.start_s,
        region_end_s=math.nan if first is None else first.end_s,
        region_share=math.nan if first is None else first.share,
        top_cues=_top_cues(made),
        agree=0 if fit is None else len(fit.agrees),
        compared=0 if fit is None else len(fit.agrees) + len(fit.disagrees),
        verdict="" if tested is None else tested.verdict,
        verdict_words="" if tested is None else tested.sentence,
        warnings=(*made.quality.warnings, *unusual, *(each.sentence for each in made.outside)),
        cues={v.cue: v.value for v in made.cues.values if v.scope == CLIP and v.value is not None},
        extra=extra or {},
    )


def _top_cues(made: Explanation) -> tuple[tuple[str, float, bool], ...]:
    found = [
        # A range has no effect: of one that is beyond chance the direction alone counts.
        (c.cue, math.copysign(1.0, c.difference or 0.0) if c.effect is None else c.effect, c.beyond_chance)
        for c in made.cues.contrasts
        if c.scope == ALL_REGIONS and (c.effect is not None or c.beyond_chance) and one_way(c)
    ]
    return tuple(sorted(found, key=lambda c: (not c[2], -abs(c[1])))[:TOP_CUES])


def cues_in_words(found: Row) -> str:
    """Return the row's top cues in words: "higher pitch level*, lower HNR"; a star marks what is beyond chance."""
    return ", ".join(
        f"{'higher' if effect > 0 else 'lower'} {cue_name(name)}{'*' if beyond else ''}"
        for name, effect, beyond in found.top_cues
    )


def table(found: Sequence[Row], card: "Card") -> "pd.DataFrame":
    """Return the rows as a table: one column a figure, ``p_…`` or ``value_…`` for outputs and ``cue_…`` for cues.

    What is not known is missing. The card says what the model was trained on. A CSV's own columns come last, as
    ``given_…``.
    """
    import pandas as pd

    outputs = list(dict.fromkeys(name for r in found for name in r.outputs))
    extras = list(dict.fromkeys(name for r in found for name in r.extra))
    dimensional = any(r.outputs and not r.answer for r in found)
    made: list[dict[str, Any]] = []
    use = in_a_cell(card)
    for r in found:
        made.append(
            {
                "file": r.file,
                "error": r.error,
                "answer": r.answer or None,
                **{f"{'value' if dimensional else 'p'}_{name}": r.outputs.get(name, math.nan) for name in outputs},
                "entropy_bits": r.entropy_bits,
                "explained": r.explained or None,
                "method": r.method or None,
                "region_start_s": r.region_start_s,
                "region_end_s": r.region_end_s,
                "region_share": r.region_share,
                "top_cues": cues_in_words(r),
                "experts_agree": r.agree if r.compared else None,
                "experts_compared": r.compared or None,
                "trust": r.verdict or None,
                "trust_words": r.verdict_words or None,
                "warnings": " ".join(r.warnings),
                "duration_s": r.duration_s,
                **{f"cue_{c.name}": r.cues.get(c.name, math.nan) for c in CUES},
                "sha256": r.sha256 or None,
                COLUMN: use,
                **{f"given_{name}": r.extra.get(name) for name in extras},
            }
        )
    counts = ["experts_agree", "experts_compared"]  # whole numbers even where a clip has none
    return pd.DataFrame(made).astype(dict.fromkeys(counts, "Int64"))
