"""Rotary position embedding: frequencies from a configuration, and tables of cosines and sines.

Positions past 16,000 multiply a frequency's rounding error by as much, so every step is rounded to float32 where
PyTorch's models round it; only the power itself is taken in float64, then rounded (PyTorch's own float32 power differs
by one unit in the last place for about one frequency in a hundred).
"""

from dataclasses import dataclass, replace
from math import ceil, floor, log, pi, sqrt

import numpy as np

from divebell.errors import Unsupported
from divebell.models.fields import Fields

_MOST = 1 << 16
KNOWN = ("default", "linear", "llama3", "longrope", "yarn")
_ONE = np.float32(1)


@dataclass(frozen=True, slots=True)
class Rope:
    """frequencies: float32 (r/2,) radians per position. magnitude multiplies cosines and sines.

    score_scale: what attention scores are multiplied by, besides head_dim ** -0.5 (YaRN as DeepSeek uses it).
    """

    frequencies: np.ndarray
    magnitude: float = 1.0
    score_scale: float = 1.0

    def divided_by(self, factors: np.ndarray) -> "Rope":
        """Llama 3's scaling as a GGUF's rope_freqs.weight gives it."""
        return replace(self, frequencies=self.frequencies / factors)


class RopeTable:
    """Rows of `ops.rotate`'s table, computed as far as they have been needed."""

    def __init__(self, rope: Rope):
        self.rope = rope
        self.rows = np.empty((0, 2 * len(rope.frequencies)), np.float32)

    def reach(self, length: int) -> None:
        """Makes `rows` cover positions 0..length-1."""
        if length > len(self.rows):
            end = max(length, 2 * len(self.rows), 1024)
            self.rows = np.concatenate([self.rows, self._rows(len(self.rows), end)])

    def _rows(self, begin: int, end: int) -> np.ndarray:
        positions = np.arange(begin, end, dtype=np.float32)
        angles = (positions[:, None] * self.rope.frequencies).astype(np.float64)
        rows = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        return rows * np.float32(self.rope.magnitude)


def rope_of_config(fields: Fields, dim: int, max_positions: int) -> Rope:
    """From config.json: `rope_parameters` (transformers 5), or `rope_theta` beside `rope_scaling` (before)."""
    _check(fields, dim)
    scaling = fields.section("rope_parameters") or fields.section("rope_scaling") or Fields({}, fields.path)
    partial = scaling.number("partial_rotary_factor", None) or fields.number("partial_rotary_factor", 1.0)
    if partial != 1:
        raise Unsupported("partial_rotary_factor", partial, ("1.0",), fields.path)
    kind = scaling.text("rope_type", None) or scaling.text("type", "default")
    if kind == "longrope":
        return _longrope(scaling, fields, dim, max_positions)
    theta = scaling.number("rope_theta", None, least=2) or fields.number("rope_theta", 10000.0, least=2)
    if kind not in KNOWN:
        raise Unsupported("rope_type", kind, KNOWN, fields.path)
    if kind == "default":
        return Rope(_frequencies(theta, dim))
    factor = scaling.number("factor", least=1)
    if kind == "linear":
        return Rope(_frequencies(theta, dim) / np.float32(factor))
    original = scaling.integer("original_max_position_embeddings", max_positions)
    if kind == "llama3":
        return Rope(_llama3(scaling, _frequencies(theta, dim), factor, original))
    return _yarn_of_config(scaling, theta, dim, factor, original)


def rope_of_gguf(fields: Fields, dim: int, max_positions: int) -> Rope:
    """From a GGUF's `<architecture>.rope.*` keys."""
    _check(fields, dim)
    theta = fields.number("rope.freq_base", 10000.0, least=2)
    kind = fields.choice("rope.scaling.type", "none", ("none", "linear", "yarn"))
    if kind == "none":
        return Rope(_frequencies(theta, dim))
    factor = fields.number("rope.scaling.factor", 1.0, least=1)
    if kind == "linear":
        return Rope(_frequencies(theta, dim) / np.float32(factor))
    original = fields.integer("rope.scaling.original_context_length", max_positions)
    fast = fields.number("rope.scaling.yarn_beta_fast", 32.0, least=1e-3)
    slow = fields.number("rope.scaling.yarn_beta_slow", 1.0, least=1e-3)
    # The converter stores a tenth of mscale_all_dim, and drops mscale, which equals it in every released model.
    all_dim = round(10 * fields.number("rope.scaling.yarn_log_multiplier", 0.0), 6)
    magnitude = 1.0 if all_dim else _mscale(factor, 1.0)
    frequencies = _yarn(theta, dim, factor, original, fast, slow)
    return Rope(frequencies, magnitude, _mscale(factor, all_dim) ** 2)


def _check(fields: Fields, dim: int) -> None:
    """Frequencies are listed before any tensor is looked for."""
    if dim > _MOST:
        raise fields.contradiction(f"RoPE would turn {dim:,} numbers of a head; no model has more than {_MOST:,}")


def _longrope(scaling: Fields, fields: Fields, dim: int, max_positions: int) -> Rope:
    """LongRoPE (arXiv 2402.13753): a factor for each frequency; one set, for texts of all lengths."""
    theta = scaling.number("rope_theta", None, least=1) or fields.number("rope_theta", 10000.0, least=1)
    factors, long = (scaling.items(f"{name}_factor") or [] for name in ("short", "long"))
    if len(factors) != dim // 2 or not all(map(_is_factor, factors)):
        raise scaling.bad("short_factor", f"must be a list of {dim // 2} numbers above 0")
    if factors != long:
        raise Unsupported("long_factor", "other than short_factor", ("the same as short_factor",), fields.path)
    listed = np.array(factors, np.float32)
    magnitude = scaling.number("attention_factor", None)
    if magnitude is None:
        original = scaling.integer("original_max_position_embeddings", max_positions, least=2)
        factor = scaling.number("factor", max_positions / original)
        magnitude = sqrt(1 + log(factor) / log(original)) if factor > 1 else 1.0
    return Rope(_ONE / (listed * _powers(theta, dim)), magnitude)


def _is_factor(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1e-6 < value < 1e30


def _yarn_of_config(scaling: Fields, theta: float, dim: int, factor: float, original: int) -> Rope:
    mscale, all_dim = scaling.number("mscale", 0.0), scaling.number("mscale_all_dim", 0.0)
    magnitude = scaling.number("attention_factor", None)
    if magnitude is None:
        magnitude = _mscale(factor, mscale) / _mscale(factor, all_dim) if mscale and all_dim else _mscale(factor, 1.0)
    fast, slow = scaling.number("beta_fast", 32.0, least=1e-3), scaling.number("beta_slow", 1.0, least=1e-3)
    frequencies = _yarn(theta, dim, factor, original, fast, slow, scaling.flag("truncate", True))
    return Rope(frequencies, magnitude, _mscale(factor, all_dim) ** 2)


def _mscale(factor: float, multiplier: float) -> float:
    """Temperature of stretched attention (YaRN, arXiv 2309.00071, section 3.4; DeepSeek adds the multiplier)."""
    return 1.0 if factor <= 1 else 0.1 * multiplier * log(factor) + 1.0


def _powers(theta: float, dim: int) -> np.ndarray:
    exponents = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
    return np.power(theta, exponents.astype(np.float64)).astype(np.float32)


def _frequencies(theta: float, dim: int) -> np.ndarray:
    return _ONE / _powers(theta, dim)


def _llama3(scaling: Fields, frequencies: np.ndarray, factor: float, original: int) -> np.ndarray:
    """Llama 3.1's rule: long waves are slowed down by `factor`, short ones kept, those between blended."""
    low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
    if not 0 < low < high:
        raise scaling.bad("high_freq_factor", f"is {high:g}; it must be above low_freq_factor, which is {low:g}")
    wavelengths = np.float32(2 * pi) / frequencies
    slowed = np.where(wavelengths > np.float32(original / low), frequencies / np.float32(factor), frequencies)
    share = (np.float32(original) / wavelengths - np.float32(low)) / np.float32(high - low)
    blended = (_ONE - share) * slowed / np.float32(factor) + share * slowed
    between = (wavelengths >= np.float32(original / high)) & (wavelengths <= np.float32(original / low))
    return np.where(between, blended, slowed)


def _yarn(
    theta: float, dim: int, factor: float, original: int, fast: float, slow: float, truncate: bool = True
) -> np.ndarray:
    """YaRN (arXiv 2309.00071, section 3.2): dimensions that turn often keep their speed, slow ones are interpolated."""
    powers = _powers(theta, dim)
    low, high = (_dimension_of(turns, theta, dim, original) for turns in (fast, slow))
    if truncate:
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    high += 0.001 if low == high else 0.0
    ramp = (np.arange(dim // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
    kept = _ONE - np.clip(ramp, 0, 1)
    return _ONE / (np.float32(factor) * powers) * (_ONE - kept) + _ONE / powers * kept


def _dimension_of(turns: float, theta: float, dim: int, original: int) -> float:
    """The dimension whose pair makes so many turns within the original context."""
    return dim * log(original / (turns * 2 * pi)) / (2 * log(theta))
