"""Pretrained speech encoders that return every layer's frames.

Whisper runs on the real frames only, with the first part of its position table, instead of on
30 s of padding: the same states up to the padding's influence, at a twentieth of the time.
"""

import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_core.weights import WHISPER, whisper_state


class WhisperFrames(nn.Module):
    """A Whisper encoder over log-mel frames of any length up to 30 s."""

    step_s = 0.02

    def __init__(self, name: str, *, pretrained: bool = True) -> None:
        super().__init__()
        spec = WHISPER[name]
        config = WhisperConfig(
            d_model=spec.hidden_size,
            encoder_layers=spec.layers,
            encoder_attention_heads=spec.heads,
            encoder_ffn_dim=4 * spec.hidden_size,
            num_mel_bins=80,
            dropout=0.0,
        )
        config._attn_implementation = "sdpa"
        self.encoder = WhisperEncoder(config)
        if pretrained:
            state = whisper_state(name)
            self.encoder.load_state_dict(
                {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
            )
        self.hidden_size = spec.hidden_size
        self.states = spec.layers + 1

    def forward(self, log_mel: Tensor, frames: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """Return the input embedding and every layer's output, and a mask of real steps.

        Args:
            log_mel: (batch, 80, frames) of 10 ms frames.
            frames: (batch,) number of real frames of each clip; None when none is padded.

        Returns:
            ``states + 1`` tensors of shape (batch, steps, hidden), one step each 20 ms, and a boolean
            mask (batch, steps), or None.
        """
        encoder = self.encoder
        if frames is not None:
            log_mel = log_mel * _real(frames, log_mel.shape[2])[:, None]
        hidden = nn.functional.gelu(encoder.conv1(log_mel))
        if frames is not None:  # the convolutions of a padded clip must see what they see at the end of a lone one
            hidden = hidden * _real(frames, log_mel.shape[2])[:, None]
        hidden = nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        steps = hidden.shape[1]
        hidden = hidden + encoder.embed_positions.weight[:steps]
        real = None if frames is None else _real((frames + 1) // 2, steps)
        attention = None if real is None else real[:, None, None, :]
        states = [hidden]
        for layer in encoder.layers:
            hidden = layer(hidden, attention)
            states.append(hidden)
        states[-1] = encoder.layer_norm(hidden)
        return states, real


def _real(counts: Tensor, length: int) -> Tensor:
    """Return a mask (batch, length) that is True on the first ``counts`` places."""
    return torch.arange(length, device=counts.device) < counts[:, None]
