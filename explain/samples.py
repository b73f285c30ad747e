"""The bundled clips: a synthetic voice, shaped with Praat so that it is known which cue lies where and how strong.

The sentences are spoken by eSpeak NG (needed only to build the clips; its licence, GPL 3, does not reach to the speech
it makes) and shaped by pitch, tempo, level, spectral tilt, formants or jitter. ``assets/samples/planted.csv`` says
what was planted. Build the clips again with ``python -m explain.samples``.
"""

import argparse
import csv
import functools
import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_core.audio import SAMPLE_RATE
from ser_core.files import whole
from ser_core.settings import ASSETS

FOLDER = ASSETS / "samples"
DURATION_S, LEAD_S, RAMP_S = 3.0, 0.25, 0.02
TILT_FROM_HZ, TILT_TO_HZ = 800.0, 1200.0
ANY_PITCH_HZ = (60.0, 500.0)
LONGEST_GAP_S = 0.02
REST, NEUTRAL = "rest of the clip", "neutral delivery of the same voice"
BEFORE = "same stretch without the change"


@dataclass(frozen=True)
class Planted:
    """A cue that was planted: where in seconds, how much, and against what the amount is meant."""

    cue: str
    start_s: float
    end_s: float
    amount: float
    unit: str
    against: str


@dataclass(frozen=True)
class Sample:
    """A bundled clip of a synthetic voice."""

    name: str
    title: str
    path: Path
    note: str
    sex: str
    sentence: str
    planted: tuple[Planted, ...]


@functools.cache
def samples(folder: Path = FOLDER) -> tuple[Sample, ...]:
    """Return the bundled clips in the order in which they should be offered."""
    planted: dict[str, list[Planted]] = {}
    for row in _rows(folder / "planted.csv"):
        planted.setdefault(row["sample"], []).append(
            Planted(
                row["cue"],
                float(row["start_s"]),
                float(row["end_s"]),
                float(row["amount"]),
                row["unit"],
                row["against"],
            )
        )
    return tuple(
        Sample(
            name=row["name"],
            title=row["title"],
            path=folder / f"{row['name']}.flac",
            note=row["note"],
            sex=row["sex"],
            sentence=row["sentence"],
            planted=tuple(planted.get(row["name"], ())),
        )
        for row in _rows(folder / "samples.csv")
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- building --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stretch:
    """A change between two times in seconds, in the unit of what it changes."""

    start_s: float
    end_s: float
    amount: float


@dataclass(frozen=True)
class _Delivery:
    """How a clip is made; pitch and tilt against the neutral delivery, stretches against the rest of the clip.

    flat_hz replaces the sentence's melody by a monotone. pitch_st shifts it, melody scales its excursions, duration
    its length, formants the formant frequencies; tilt_db raises everything above 1 kHz. rise is in semitones, louder
    in dB, jitter in percent of the period.
    """

    name: str
    title: str
    note: str
    voice: str
    flat_hz: float | None = None
    pitch_st: float = 0.0
    melody: float = 1.0
    duration: float = 1.0
    formants: float = 1.0
    tilt_db: float = 0.0
    rise: _Stretch | None = None
    louder: _Stretch | None = None
    jitter: _Stretch | None = None


SENTENCE = "We were away in Rome for nearly a year."
VOICES = {"female": ("en-us+f2", 130), "male": ("en-gb", 130)}

DELIVERIES = (
    _Delivery("neutral_woman", "neutral, woman", "As the engine speaks it; nothing planted.", "female"),
    _Delivery("neutral_man", "neutral, man", "As the engine speaks it; nothing planted.", "male"),
    _Delivery(
        "pitch_rise",
        "a pitch rise at 1.0–1.5 s",
        "A monotone of 120 Hz that is 5 semitones higher from 1.0 to 1.5 s.",
        "male",
        flat_hz=120.0,
        rise=_Stretch(1.0, 1.5, 5.0),
    ),
    _Delivery(
        "like_anger",
        "shaped like anger, man",
        "Pitch, melody, tempo and high frequencies raised; one stretch louder.",
        "male",
        pitch_st=8.0,
        melody=1.4,
        duration=0.85,
        tilt_db=6.0,
        louder=_Stretch(1.1, 1.6, 8.0),
    ),
    _Delivery(
        "like_happiness",
        "shaped like happiness, woman",
        "Pitch, melody, tempo and formants raised.",
        "female",
        pitch_st=4.0,
        melody=1.4,
        duration=0.9,
        formants=1.08,
    ),
    _Delivery(
        "like_sadness",
        "shaped like sadness, woman",
        "Pitch, melody, tempo and high frequencies lowered.",
        "female",
        pitch_st=-3.0,
        melody=0.4,
        duration=1.2,
        tilt_db=-8.0,
    ),
    _Delivery(
        "rough_stretch",
        "a rough stretch at 1.2–1.8 s",
        "Neighbouring periods differ by some per cent from 1.2 to 1.8 s.",
        "male",
        jitter=_Stretch(1.2, 1.8, 6.0),
    ),
)


def build(folder: Path = FOLDER) -> None:
    """Speak and shape every clip, and write them with their tables; needs the program ``espeak-ng``."""
    import soundfile as sf

    folder.mkdir(parents=True, exist_ok=True)
    about: list[list[object]] = []
    planted: list[list[object]] = []
    for delivery in DELIVERIES:
        voice = shape(_speak(delivery.voice), delivery)
        sf.write(folder / f"{delivery.name}.flac", voice, SAMPLE_RATE, subtype="PCM_16")
        about.append([delivery.name, f"Synthetic voice: {delivery.title}", delivery.voice, SENTENCE, delivery.note])
        planted += [[delivery.name, *row] for row in _planted(delivery)]
    _write(folder / "samples.csv", ["name", "title", "sex", "sentence", "note"], about)
    _write(folder / "planted.csv", ["sample", "cue", "start_s", "end_s", "amount", "unit", "against"], planted)


def _planted(delivery: _Delivery) -> list[list[object]]:
    whole = (0.0, DURATION_S)
    rows: list[list[object]] = []
    if delivery.rise:
        rise = delivery.rise
        rows.append(["f0_mean", rise.start_s, rise.end_s, rise.amount, "st", REST])
    if delivery.louder:
        louder = delivery.louder
        rows.append(["intensity_mean", louder.start_s, louder.end_s, louder.amount, "dB", BEFORE])
    if delivery.jitter:
        jitter = delivery.jitter
        rows.append(["jitter", jitter.start_s, jitter.end_s, jitter.amount, "%", BEFORE])
    if delivery.pitch_st:
        rows.append(["f0_mean", *whole, delivery.pitch_st, "st", NEUTRAL])
    if delivery.melody != 1:
        rows.append(["f0_variability", *whole, delivery.melody, "times", NEUTRAL])
    if delivery.duration != 1:
        rows.append(["speech_rate", *whole, round(1 / delivery.duration, 3), "times", NEUTRAL])
    if delivery.tilt_db:
        rows.append(["hf_energy", *whole, delivery.tilt_db, "dB", NEUTRAL])
    if delivery.formants != 1:
        rows.append(["f1_mean", *whole, delivery.formants, "times", NEUTRAL])
    return rows


def _write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(header)
        out.writerows(rows)


def _speak(sex: str) -> np.ndarray:
    """Return the sentence as eSpeak NG speaks it, (samples,) at 16 kHz."""
    import soundfile as sf
    import soxr

    voice, words_a_minute = VOICES[sex]
    command = ["espeak-ng", "-v", voice, "-s", str(words_a_minute), "--stdout", SENTENCE]
    spoken = subprocess.run(command, capture_output=True, check=True).stdout
    sound, rate = sf.read(io.BytesIO(spoken), dtype="float64")
    loud = np.flatnonzero(np.abs(sound) > 1e-3)
    return soxr.resample(sound[loud[0] : loud[-1]], rate, SAMPLE_RATE)


def shape(voice: np.ndarray, delivery: _Delivery) -> np.ndarray:
    """Return the spoken sentence as a clip of 3 s in which the delivery's changes are planted, (samples,)."""
    speech_s = len(voice) / SAMPLE_RATE
    longest_s = DURATION_S - 2 * LEAD_S
    # One common tempo for all deliveries, so that the slowest still fits into the clip.
    fits = longest_s / (speech_s * max(d.duration for d in DELIVERIES))
    voice = _with_tempo(voice, fits * delivery.duration)
    clip = np.zeros(int(DURATION_S * SAMPLE_RATE))
    begin = int(LEAD_S * SAMPLE_RATE)
    clip[begin : begin + len(voice)] = voice[: len(clip) - begin]
    clip = _with_pitch(clip, delivery)
    if delivery.formants != 1:
        clip = _with_formants(clip, delivery.formants)
    if delivery.jitter:
        clip = _with_jitter(clip, delivery.jitter)
    if delivery.tilt_db:
        clip = _with_tilt(clip, delivery.tilt_db)
    clip *= 0.1 / np.sqrt(np.mean(clip[begin : begin + len(voice)] ** 2))
    if delivery.louder:
        clip *= 10 ** (_bump(delivery.louder) * delivery.louder.amount / 20)
    clip += 1e-4 * np.random.default_rng(0).standard_normal(len(clip))
    return clip * min(1.0, 0.9 / np.abs(clip).max())


def _bump(stretch: _Stretch) -> np.ndarray:
    """1 inside the stretch, 0 outside, with linear ramps of 20 ms centred on its ends, (samples,)."""
    t = np.arange(int(DURATION_S * SAMPLE_RATE)) / SAMPLE_RATE
    return np.clip(np.minimum(t - stretch.start_s, stretch.end_s - t) / RAMP_S + 0.5, 0, 1)


def _with_tempo(voice: np.ndarray, factor: float) -> np.ndarray:
    import parselmouth
    from parselmouth.praat import call, run

    sound = parselmouth.Sound(voice, SAMPLE_RATE)
    manipulation = call(sound, "To Manipulation", 0.01, *ANY_PITCH_HZ)
    tier = call("Create DurationTier", "tempo", 0, sound.duration)
    call(tier, "Add point", 0, factor)
    call([manipulation, tier], "Replace duration tier")
    # Where there is no voice, Praat draws at random what it repeats: without a seed no build equals the last.
    run("random_initializeWithSeedUnsafelyButPredictably (1)")
    return call(manipulation, "Get resynthesis (overlap-add)").values[0]


def _with_pitch(clip: np.ndarray, delivery: _Delivery) -> np.ndarray:
    import parselmouth
    from parselmouth.praat import call

    if delivery.flat_hz is None and not delivery.pitch_st and delivery.melody == 1 and delivery.rise is None:
        return clip
    sound = parselmouth.Sound(clip, SAMPLE_RATE)
    manipulation = call(sound, "To Manipulation", 0.01, *ANY_PITCH_HZ)
    pitch = sound.to_pitch_ac(time_step=0.005, pitch_floor=ANY_PITCH_HZ[0], pitch_ceiling=ANY_PITCH_HZ[1])
    times_s, f0_hz = pitch.xs(), pitch.selected_array["frequency"]
    times_s, f0_hz = times_s[f0_hz > 0], f0_hz[f0_hz > 0]
    if delivery.flat_hz is not None:
        f0_hz = np.full_like(f0_hz, delivery.flat_hz)
    pitch_st = 12 * np.log2(f0_hz)
    pitch_st = pitch_st.mean() + delivery.pitch_st + delivery.melody * (pitch_st - pitch_st.mean())
    if delivery.rise:
        pitch_st = pitch_st + delivery.rise.amount * np.interp(
            times_s, np.arange(len(clip)) / SAMPLE_RATE, _bump(delivery.rise)
        )
    tier = call("Create PitchTier", "pitch", 0, sound.duration)
    for t, st in zip(times_s, pitch_st, strict=True):
        call(tier, "Add point", float(t), float(2 ** (st / 12)))
    call([manipulation, tier], "Replace pitch tier")
    return call(manipulation, "Get resynthesis (overlap-add)").values[0][: len(clip)]


def _with_formants(clip: np.ndarray, factor: float) -> np.ndarray:
    import parselmouth
    from parselmouth.praat import call

    sound = parselmouth.Sound(clip, SAMPLE_RATE)
    changed = call(sound, "Change gender", *ANY_PITCH_HZ, factor, 0, 1, 1)
    out = np.zeros(len(clip))
    values = changed.values[0][: len(clip)]
    out[: len(values)] = values
    return out


def _with_jitter(clip: np.ndarray, stretch: _Stretch) -> np.ndarray:
    """Move every second pulse of the stretch later, so that neighbouring periods differ by the amount in percent.

    By overlap-add: what lies around a pulse, faded out towards its neighbours, moves with it.
    """
    import parselmouth
    from parselmouth.praat import call

    sound = parselmouth.Sound(clip, SAMPLE_RATE)
    pitch = sound.to_pitch_ac(time_step=0.01, pitch_floor=ANY_PITCH_HZ[0], pitch_ceiling=ANY_PITCH_HZ[1])
    pulses_s = call(call([sound, pitch], "To PointProcess (cc)"), "To Matrix").values[0]
    out = clip.copy()
    t = np.arange(len(clip)) / SAMPLE_RATE
    inside = np.flatnonzero((pulses_s > stretch.start_s) & (pulses_s < stretch.end_s))
    for k in inside[1:-1:2]:
        before_s, here_s, after_s = pulses_s[k - 1 : k + 2]
        if after_s - before_s > 2 * LONGEST_GAP_S:
            continue
        fade = np.interp(t, [before_s, here_s, after_s], [0.0, 1.0, 0.0])
        shift_s = (after_s - before_s) / 2 * stretch.amount / 200
        out += np.interp(t - shift_s, t, fade * clip) - fade * clip
    return out


def _with_tilt(clip: np.ndarray, amount_db: float) -> np.ndarray:
    """Raise everything above 1 kHz by the amount, with a linear step from 800 to 1200 Hz."""
    spectrum = np.fft.rfft(clip)
    frequency = np.fft.rfftfreq(len(clip), 1 / SAMPLE_RATE)
    share = np.clip((frequency - TILT_FROM_HZ) / (TILT_TO_HZ - TILT_FROM_HZ), 0, 1)
    return np.fft.irfft(spectrum * 10 ** (share * amount_db / 20), len(clip))


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the bundled clips again; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m explain.samples", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the clips (default: %(default)s)")
    try:
        build(parser.parse_args(arguments).out)
    except FileNotFoundError:
        print("The program espeak-ng is not installed; install it to build the clips.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
