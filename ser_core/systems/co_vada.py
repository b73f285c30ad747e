"""CO-VADA: confidence-oriented voice augmentation for fair speech emotion recognition.

1. A small classifier is trained with generalised cross-entropy (q = 0.7) and stopped early; it learns what is easy,
   and with it the bias of the training speech.
2. Training clips that it gets right with confidence are bias-guiding, the rest are bias-contrary.
3. Each bias-guiding clip is said once more, with its emotion, in the voice of a speaker of bias-contrary clips of that
   emotion; the more such clips, the more often the voice.
4. Any system is trained on the originals and the converted clips: ``python -m ser_core train … --converted-voices``.

No sex, age, race or other label of a person is used; who speaks is.

The paper gives steps 1 to 4; q, where training stops, what counts as confident and how the voice is chosen are ours.
"""

import hashlib
import json
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ser_core.bundled import PLANS
from ser_core.conversion import Job, convert_files
from ser_core.conversion.voice import Voice, measure
from ser_core.crossvalidation import prepared
from ser_core.files import state_of, write_text
from ser_core.losses import generalised_cross_entropy
from ser_core.parallel import each
from ser_core.settings import settings

Q = 0.7
EPOCHS = 3
RATE = 1e-4
BATCH = 128
CONFIDENT = 0.7
COPIES = "copies"
BIAS_PLAN = "whisper-tiny-statistics"
VOICE_STEP = 5  # every fifth clip of a speaker is measured: odd against six emotions, so all of them count


def more(table: pd.DataFrame, training: np.ndarray, backend: str) -> pd.DataFrame:
    """Return the converted clips that are added to the training clips of a fold.

    Args:
        table: a corpus with columns clip, file, speaker and emotion, the whole of it.
        training: boolean (clips,); of the rest, neither label nor voice is used.
        backend: of :mod:`ser_core.conversion`; or "copies", which adds the bias-guiding clips as they are: what the
            method is worth beyond weighing them more.

    Returns:
        Rows like those of the table; ``file`` is the converted clip and ``voice`` the speaker whose voice it has.
    """
    clips = table[training].reset_index(drop=True)
    features = np.concatenate(prepared(PLANS[BIAS_PLAN], table), axis=1).T[training]
    classes, _ = pd.factorize(clips["emotion"], sort=True)
    guiding = bias_guiding(bias_probabilities(features, classes), classes)
    pairs = assigned(clips, guiding)
    if backend == COPIES:
        return pairs.assign(voice=pairs["speaker"])
    voices = measured_voices(clips)
    names = pairs[["clip", "file", "speaker", "voice"]].astype(str).itertuples(index=False, name=None)
    jobs = []
    for clip, file, own, other in names:
        source, target = voices[own], voices[other]
        jobs.append(Job(file, source, target, backend, str(_converted_file(clip, file, source, target, backend))))
    convert_files(jobs)
    return pairs.assign(file=[job.out for job in jobs])


def bias_probabilities(features: np.ndarray, classes: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return the probabilities (clips, classes) of the early-stopped classifier on its own training clips.

    Args:
        features: (clips, features).
        classes: (clips,) of each clip, from 0.
        seed: of the start and the batches.
    """
    centred = (features - features.mean(0)) / (features.std(0) + 1e-4)
    scores = torch.from_numpy(centred.clip(-6, 6).astype(np.float32))
    targets = torch.from_numpy(np.eye(int(classes.max()) + 1, dtype=np.float32)[classes])
    generator = torch.Generator().manual_seed(seed)
    network = nn.Linear(scores.shape[1], targets.shape[1])
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(scores), generator=generator).split(BATCH):
            loss = generalised_cross_entropy(network(scores[batch]), targets[batch], Q)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.inference_mode():
        shares: Tensor = network(scores).softmax(-1)
    return shares.numpy()


def bias_guiding(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return which clips (clips,) are right and confident; the rest are bias-contrary."""
    return (probabilities.argmax(1) == classes) & (probabilities.max(1) > CONFIDENT)


def assigned(clips: pd.DataFrame, guiding: np.ndarray) -> pd.DataFrame:
    """Return the bias-guiding rows with ``voice``, the speaker whose voice each takes.

    The chance of a speaker is in proportion to their bias-contrary clips of the same emotion. Draws depend on the clip
    and the speaker only (the smallest of exponential waiting times with these rates), so that folds which share clips
    share conversions, too. A clip for which there is nobody else is left out.
    """
    contrary: dict[str, dict[str, int]] = {}
    for emotion, speaker in clips.loc[~guiding, ["emotion", "speaker"]].astype(str).itertuples(index=False, name=None):
        rates = contrary.setdefault(emotion, {})
        rates[speaker] = rates.get(speaker, 0) + 1
    chosen = []
    names = clips.loc[guiding, ["clip", "emotion", "speaker"]].astype(str)
    for clip, emotion, own in names.itertuples(index=False, name=None):
        rates = contrary.get(emotion, {})
        waits = {other: _waiting(f"{clip}|{other}") / rate for other, rate in rates.items() if other != own}
        chosen.append(min(waits.items(), key=itemgetter(1))[0] if waits else "")
    paired = clips[guiding].assign(voice=pd.Series(chosen, index=clips.index[guiding], dtype=str))
    return paired[paired["voice"] != ""].reset_index(drop=True)


def measured_voices(clips: pd.DataFrame) -> dict[str, Voice]:
    """Return the voice of every speaker of a table, measured once and kept in the cache folder."""
    files = {str(name): tuple(sorted(own["file"]))[::VOICE_STEP] for name, own in clips.groupby("speaker")}
    stores = {name: _voice_store(name, chosen) for name, chosen in files.items()}
    missing = [(name, files[name], store) for name, store in stores.items() if not store.exists()]
    for place, _ in enumerate(each(_measure, missing), start=1):
        if place % 10 == 0 or place == len(missing):
            print(f"{place} of {len(missing)} voices measured", flush=True)
    return {name: Voice(**json.loads(store.read_text())) for name, store in stores.items()}


def _measure(task: tuple[str, tuple[str, ...], Path]) -> None:
    name, files, store = task
    store.parent.mkdir(parents=True, exist_ok=True)
    write_text(store, json.dumps(asdict(measure(name, files))))


def _voice_store(name: str, files: tuple[str, ...]) -> Path:
    key = hashlib.sha256(json.dumps([name, *map(state_of, files)]).encode()).hexdigest()[:16]
    return settings().cache_dir / "voices" / f"{key}.json"


def _converted_file(clip: str, file: str, source: Voice, target: Voice, backend: str) -> Path:
    # Clips of two corpora may have one name, clips and voices of one may change under theirs, and a name may be a path.
    made_of = [state_of(file), asdict(source), asdict(target)]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:8]
    name = f"{Path(clip).name}-{key}--{target.speaker.rpartition('/')[2]}.flac"
    return settings().cache_dir / "converted" / backend / name


def _waiting(words: str) -> float:
    """Return an exponential waiting time of rate 1 that is a fixed function of the words."""
    share = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big") / 2**64
    return float(-np.log1p(-share))
