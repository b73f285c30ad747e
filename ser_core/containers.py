"""From the bytes of an audio file to a stream of its samples: which container it is, and how it is opened.

The container is told from the bytes, never from the file name. WAV, FLAC, OGG, MP3, AIFF, AU, CAF and NIST SPHERE are
read by libsndfile, MP4/M4A/3GP, WebM/Matroska, raw AAC, WMA, AVI and AMR by the FFmpeg inside PyAV, which is only ever
given a demuxer by name: its own guessing would follow playlists to other files and addresses. Nothing is written to
disk.
"""

import io
import mmap
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soundfile as sf

from ser_core.errors import AudioError

BLOCK = 1 << 13

Bytes = bytes | mmap.mmap
# What the frames of one MP3 stream have in common: sync, version, layer and sample rate.
_SAME_MP3 = b"\xff\xfe\x0c\x00"
_LOSSLESS = ("PCM", "FLOAT", "DOUBLE", "ALAC", "FLAC", "WAVPACK")


@dataclass(frozen=True)
class Stream:
    """An opened file: `blocks` yields float32 arrays of shape (frames, channels); `frames` is None if not stated.

    `first` is the frame at which the blocks begin.
    """

    container: str
    codec: str
    lossy: bool
    sample_rate: int
    channels: int
    frames: int | None
    blocks: Iterable[np.ndarray]
    first: int = 0


class DamagedError(Exception):
    """The payload of a file cannot be decoded to its end."""


@dataclass(frozen=True)
class _Kind:
    """A container: what to call it, whether libsndfile reads it, FFmpeg's demuxer for it ("" for none)."""

    label: str
    sndfile: bool
    demuxer: str


_WAV = _Kind("WAV", True, "wav")
_FLAC = _Kind("FLAC", True, "flac")
_OGG = _Kind("OGG", True, "ogg")
_MP3 = _Kind("MP3", True, "mp3")
_AAC = _Kind("AAC", False, "aac")
_MP4 = _Kind("MP4", False, "mov")

_AUDIO_MAGIC: tuple[tuple[int, bytes, _Kind], ...] = (
    (0, b"fLaC", _FLAC),
    (0, b"OggS", _OGG),
    (0, b".snd", _Kind("AU", True, "")),
    (0, b"caff", _Kind("CAF", True, "caf")),
    (0, b"NIST_1A", _Kind("NIST SPHERE", True, "")),
    (0, b"\x1a\x45\xdf\xa3", _Kind("WebM", False, "matroska")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _Kind("WMA", False, "asf")),
    (0, b"#!AMR", _Kind("AMR", False, "amr")),
    (4, b"ftyp", _MP4),
    (4, b"moov", _MP4),
    (4, b"mdat", _MP4),
    (4, b"wide", _MP4),
    (8, b"AVI ", _Kind("AVI", False, "avi")),
    (8, b"WAVE", _WAV),
    (8, b"AIFF", _Kind("AIFF", True, "aiff")),
    (8, b"AIFC", _Kind("AIFF", True, "aiff")),
)

_OTHER_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "an image (PNG)"),
    (0, b"\xff\xd8\xff", "an image (JPEG)"),
    (0, b"GIF8", "an image (GIF)"),
    (0, b"BM", "an image (BMP)"),
    (8, b"WEBP", "an image (WebP)"),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"MThd", "a MIDI file (notes without sound)"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
)


def _kind(data: Bytes) -> _Kind | None:
    for offset, magic, kind in _AUDIO_MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return kind
    if data[:3] == b"ID3" and len(data) > 10:
        after = data[_tag_bytes(data) : _tag_bytes(data) + 16]
        return _MP3 if after[:3] == b"ID3" else _kind(after) or _MP3
    if len(data) >= 4 and data[0] == 0xFF:
        # Frame headers: ISO/IEC 11172-3 § 2.4.1.3 (layers II and III), ISO/IEC 13818-7 § 6.2 (ADTS, layer 0).
        if data[1] & 0xF6 == 0xF0:
            return _AAC
        if data[1] & 0xE0 == 0xE0 and data[1] & 0x06 in (0x02, 0x04) and data[2] >> 4 != 15 and data[2] & 0x0C != 0x0C:
            return _MP3
    return None


def _tag_bytes(data: Bytes) -> int:
    """Return the length of the ID3v2 tag that a file begins with, 0 of one without."""
    if data[:3] != b"ID3" or len(data) <= 10:
        return 0
    # The size of an ID3v2 tag is 4 × 7 bits (id3.org, "ID3v2 header").
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))


def open_stream(data: Bytes, name: str, first: int = 0) -> Stream:
    """Return the sound inside the bytes of a file, ready to be decoded block by block.

    Args:
        data: the whole file.
        name: for messages.
        first: the frame to begin at; only uncompressed and FLAC files are entered there, others at their start.

    Raises:
        AudioError: the bytes are of no kind that can be read, or are cut off.
    """
    kind = _kind(data)
    if kind is None:
        raise AudioError(
            f"'{name}' is {_what_else(data)}; choose a WAV, FLAC, MP3, OGG, M4A/AAC or WebM recording of speech."
        )
    missing = _missing_share(data, kind)
    if missing > 0.01:
        raise AudioError(
            f"'{name}' is cut off: about {max(1, round(100 * missing))} % of this {kind.label} file is missing; "
            "copy or export it again."
        )
    if not first and _is_chained(data, kind):
        raise AudioError(
            f"'{name}' holds several recordings one after the other, of which only the first would be read; export it "
            "again as one, or choose a single one."
        )
    if kind.sndfile:
        try:
            stream = _open_sndfile(data, kind, first)
            if kind is not _WAV or stream.frames or _is_finished(data):
                return stream
        except (sf.LibsndfileError, RuntimeError):
            if not kind.demuxer:
                raise AudioError(_bad_header(name, kind)) from None
    return _open_ffmpeg(data, name, kind)


def _what_else(data: Bytes) -> str:
    for offset, magic, what in _OTHER_MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return f"{what}, not an audio file"
    head = data[:4096]
    if not any(head):
        return "not an audio file (it begins with zeros only, as an interrupted download does)"
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = head.decode(encoding, "replace")
    printable = sum(c.isprintable() or c.isspace() for c in text if c != "\ufffd")
    return "a text file, not an audio file" if printable > 0.97 * len(text) else "not an audio file that can be read"


def _missing_share(data: Bytes, kind: _Kind) -> float:
    """Return the share of the file that its own headers promise and the bytes lack, 0 where they do not say."""
    if kind is _WAV and data[:4] in (b"RIFF", b"RIFX"):
        promised = 8 + int.from_bytes(data[4:8], "little" if data[:4] == b"RIFF" else "big")
        # Recorders that stream leave a placeholder in the size.
        return max(0.0, 1 - len(data) / promised) if 8 < promised < 0x7FFF0000 else 0.0
    if kind is _OGG:
        page = data.rfind(b"OggS")
        table = data[page + 27 : page + 27 + data[page + 26]] if page + 26 < len(data) else b""
        end = page + 27 + len(table) + sum(table)
        # A whole page is lost with any part of it, and pages run to a second: any gap counts.
        return max(0.02, 1 - len(data) / end) if end > len(data) or not table else 0.0
    return 0.0


def _is_finished(data: Bytes) -> bool:
    """Return whether a WAV file says how long it is.

    A recorder that was stopped in the midst has not come to write this, nor how much sound there is, which is not none
    then: FFmpeg reads it to the end.
    """
    return abs(8 + int.from_bytes(data[4:8], "little") - len(data)) <= 1  # an odd chunk may lack its filler


def _is_chained(data: Bytes, kind: _Kind) -> bool:
    """Return whether another recording begins where the first one of a file ends, which libsndfile leaves out."""
    if kind is _OGG:  # a first page after a later one (RFC 3533, section 4)
        following = re.search(rb"OggS\x00[\x00\x01\x04\x05]", data)
        return following is not None and re.compile(rb"OggS\x00[\x02\x06]").search(data, following.end()) is not None
    if kind is _FLAC:  # the marker and the head of STREAMINFO (RFC 9639, section 8)
        return len(re.findall(rb"fLaC[\x00\x80]\x00\x00\x22", data)) > 1
    if kind is _MP3:  # the first frame's note of how many bytes belong together ("Xing" in files of a varying bit rate)
        noted = re.compile(rb"(\xff[\xe2-\xff]..)(?:..)?\x00{7,32}(?:Xing|Info)\x00\x00\x00(.)(.{8})", re.DOTALL)
        first = noted.search(data, 0, _tag_bytes(data) + 4096)
        if first is None or not first[2][0] & 2:
            return False
        end = first.start() + int.from_bytes(first[3][4:] if first[2][0] & 1 else first[3][:4], "big")
        same = bytes(a & b for a, b in zip(data[end : end + 4], _SAME_MP3, strict=False))
        return data[end : end + 3] == b"ID3" or same == bytes(a & b for a, b in zip(first[1], _SAME_MP3, strict=True))
    return False


def _bad_header(name: str, kind: _Kind) -> str:
    return (
        f"'{name}' begins as {kind.label} files do, but its header is damaged, cut off or of a kind that cannot be "
        "read; export it again as WAV or FLAC."
    )


class _File:
    """Bytes as a file that stays at its start where a damaged header asks for a place before it."""

    def __init__(self, data: Bytes) -> None:
        self._data, self._at = data, 0

    def read(self, count: int = -1) -> bytes:
        """Return up to that many bytes, or all that are left."""
        found = bytes(self._data[self._at : self._at + count if count >= 0 else len(self._data)])
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at


def _open_sndfile(data: Bytes, kind: _Kind, first: int) -> Stream:
    file = sf.SoundFile(_File(data))
    # Decoders of other codes need what came before to give the same samples.
    enters = kind not in (_MP3, _OGG) and file.subtype.startswith((*_LOSSLESS, "ULAW", "ALAW"))
    first = file.seek(min(first, file.frames)) if first and enters else 0

    def blocks() -> Iterator[np.ndarray]:
        with file:
            try:
                while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                    yield block
            except (sf.LibsndfileError, RuntimeError) as error:
                raise DamagedError from error

    known = 0 <= file.frames < 1 << 62
    lossy = not file.subtype.startswith(_LOSSLESS)
    codec = file.subtype_info
    return Stream(
        kind.label, codec, lossy, file.samplerate, file.channels, file.frames if known else None, blocks(), first
    )


def _open_ffmpeg(data: Bytes, name: str, kind: _Kind) -> Stream:
    import av

    try:
        container = av.open(_File(data), "r", format=kind.demuxer)
    except (av.FFmpegError, ValueError):
        raise AudioError(_bad_header(name, kind)) from None
    if not container.streams.audio:
        what = "picture but no sound" if container.streams.video else "no sound"
        container.close()
        raise AudioError(f"'{name}' holds {what}; choose a file that has an audio track.")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None:
        container.close()
        raise AudioError(
            f"'{name}' is of the {kind.label} kind, but its sound is coded in a way that cannot be read here; "
            "export it as WAV or FLAC."
        )
    if not codec.sample_rate or not codec.channels:
        container.close()
        raise AudioError(_bad_header(name, kind))
    rate, channels = codec.sample_rate, codec.channels  # the decoder, which reads ahead, changes its own in mid-file
    frames: int | None = None
    if kind.demuxer == "mov" and stream.duration and stream.time_base:
        frames = round(stream.duration * stream.time_base * rate)
    elif kind.demuxer == "matroska" and container.duration and not container.streams.video:
        frames = round(container.duration / av.time_base * rate)

    def blocks() -> Iterator[np.ndarray]:
        # Interleaved, as PyAV counts planes up to the next null pointer: eight of them end in no null, and reading the
        # ninth ends the process.
        packed = av.AudioResampler(format="flt")
        with container:
            try:
                for frame in container.decode(stream):
                    if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                        raise DamagedError
                    for part in packed.resample(frame):
                        yield part.to_ndarray().reshape(-1, channels)
            except (av.FFmpegError, ValueError) as error:
                raise DamagedError from error

    lossy = not codec.name.upper().startswith(_LOSSLESS)
    return Stream(kind.label, codec.name, lossy, rate, channels, frames, blocks())
