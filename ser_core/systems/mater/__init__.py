"""Three levels, each acoustic and textual, in an ensemble that listens to those that are sure (MATER).

- word: pitch, level, duration, pause and valence of every word (``word_measures``). The level's score is a sum over
  words, so what each word brings to it is exact and needs no attribution method.
- utterance: eGeMAPS functionals of the clip and the embedding of its sentence.
- embedding: mean and deviation over time of every layer of a speech encoder, and over tokens of a text encoder.

Each level is a multinomial logistic regression with its own temperature, found by cross-validation within the training
clips. The ensemble adds up the levels' log-probabilities, weighted by ``1 − entropy / log(classes)``: a level that
cannot tell has no say. English is read by MiniLM; text in other languages by the decoder of the multilingual
recogniser while it hears silence.

The paper's details are not public; how the levels are made and the form of the weights are inferred.
"""

from pathlib import Path

from safetensors.torch import load_file

from ser_core.familiarity import load_neighbourhood
from ser_core.models import Card
from ser_core.systems.mater.ensemble import Mater, embeddings, fit, logits, save
from ser_core.systems.mater.evidence import MaterModel
from ser_core.systems.mater.features import LEVELS, READS_TRANSCRIPTS, encoder_mb, prepare

__all__ = ["READS_TRANSCRIPTS", "embeddings", "encoder_mb", "fit", "load", "logits", "prepare", "save"]


def load(folder: Path, card: Card) -> MaterModel:
    """Return the model of a folder; its card names the encoder."""
    from safetensors import safe_open

    with safe_open(folder / "weights.safetensors", "pt") as stored:
        weighting = stored.metadata()["weighting"]
    state = load_file(folder / "weights.safetensors")
    columns = {name.split(".")[1]: value.tolist() for name, value in state.items() if name.endswith(".columns")}
    levels = {level: columns[level] for level in LEVELS if level in columns}
    network = Mater(len(state["mean"]), len(card.emotions), levels, weighting)
    network.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in state.items()})
    return MaterModel(card, network, load_neighbourhood(folder))
