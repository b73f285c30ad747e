"""Whisper's encoder in torch alone, with the parameter names of ``transformers``.

``tests/test_encoders.py`` holds its states against theirs, bit for bit. Theirs is not used because to import it takes
two seconds, for which whoever comes first after a start would wait.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

POSITIONS = 1500


class WhisperEncoder(nn.Module):
    """Two convolutions over (batch, bands, frames), positions, and layers of attention.

    Source: Radford et al. 2022, section 2.2. The caller runs the parts, as it needs every state.
    """

    def __init__(self, hidden_size: int, layers: int, heads: int, bands: int = 80) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(bands, hidden_size, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(hidden_size, hidden_size, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding.from_pretrained(torch.empty(POSITIONS, hidden_size))  # fixed sinusoids
        self.layers = nn.ModuleList(_Layer(hidden_size, heads) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(hidden_size)


class _Layer(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.self_attn = _Attention(size, heads)
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, 4 * size)
        self.fc2 = nn.Linear(4 * size, size)
        self.final_layer_norm = nn.LayerNorm(size)

    def forward(self, hidden: Tensor, real: Tensor | None) -> Tensor:
        """Return (batch, steps, size); ``real`` (batch, 1, 1, steps) says which steps may be attended to."""
        hidden = hidden + self.self_attn(self.self_attn_layer_norm(hidden), real)
        changed: Tensor = self.fc2(gelu(self.fc1(self.final_layer_norm(hidden))))
        return hidden + changed


class _Attention(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (size // heads) ** -0.5
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size)
        self.q_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, hidden: Tensor, real: Tensor | None) -> Tensor:
        """Return (batch, steps, size)."""
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2).contiguous()
            for part in (self.q_proj(hidden) * self.scale, self.k_proj(hidden), self.v_proj(hidden))
        )
        heard = scaled_dot_product_attention(queries, keys, values, attn_mask=real, scale=1.0)
        out: Tensor = self.out_proj(heard.transpose(1, 2).flatten(2))
        return out
