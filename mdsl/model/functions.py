"""Functions that are no formulas: networks, whose weights are parameters, and functions of Python.

A network is a multilayer perceptron: each layer takes the numbers h of the one before it to h·W + b, and all but the
last to tanh of that. tanh, for forces are derivatives: they are smooth. Weights start from normal numbers of
variance 1/inputs (LeCun et al. 1998, Efficient BackProp), biases from 0.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mdsl.grammar.source import Span


@dataclass(frozen=True)
class Network:
    """A network of layers of ``sizes``, the inputs first."""

    name: str
    sizes: tuple[int, ...]
    span: Span = field(compare=False, repr=False)

    @property
    def inputs(self) -> int:
        return self.sizes[0]

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """The inputs and outputs of each layer."""
        return tuple(zip(self.sizes, self.sizes[1:]))

    @property
    def count(self) -> int:
        """The number of weights and biases."""
        return sum(a * b + b for a, b in self.layers)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The arrays of the weights, in the order in which they stand in a row."""
        found: dict[str, tuple[int, ...]] = {}
        for k, (a, b) in enumerate(self.layers, 1):
            found |= {f"weights_{k}": (a, b), f"biases_{k}": (b,)}
        return found

    def split(self, row):
        """The weights by name, from all of them in the last axis of an array of NumPy or JAX."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            found[name] = row[..., start : start + size].reshape(*row.shape[:-1], *shape)
            start += size
        return found

    def initial(self, seed: int = 0) -> np.ndarray:
        """[count]: what the weights are before anything is learned: random, by the name and a ``seed``."""
        rng = np.random.Generator(np.random.Philox(key=[seed % 2**64, zlib.crc32(self.name.encode())]))
        parts = [
            rng.normal(size=shape) / np.sqrt(shape[0]) if len(shape) == 2 else np.zeros(shape)
            for shape in self.shapes.values()
        ]
        return np.concatenate([p.ravel() for p in parts])

    def apply(self, weights: Mapping[str, object], inputs, tanh: Callable, affine: Callable):
        """The network by the operations of whoever computes it: ``affine(h, W, b)`` is a layer."""
        h = inputs
        for k in range(1, len(self.sizes)):
            h = affine(h, weights[f"weights_{k}"], weights[f"biases_{k}"])
            h = tanh(h) if k + 1 < len(self.sizes) else h
        return h


@dataclass(frozen=True, eq=False)
class Weights:
    """Numbers that a function of Python learns, in any tree of arrays: ``row`` [count] holds what they are to begin
    with, one after the other; ``split`` makes a tree of the last axis of such a row, and ``joined`` a row of a tree
    (ValueError where it is another kind of tree)."""

    row: np.ndarray
    split: Callable
    joined: Callable

    @property
    def count(self) -> int:
        return len(self.row)

    def initial(self, seed: int = 0) -> np.ndarray:
        """[count]: as they were given, whatever the ``seed``."""
        return self.row


@dataclass(frozen=True, eq=False)
class Weighted:
    """A function of Python given with its weights."""

    function: Callable
    weights: Weights


@dataclass(frozen=True)
class Extern:
    """A function of Python, of as many arguments as it has ``parameters``; None where it has not been given yet."""

    name: str
    parameters: tuple[str, ...]
    span: Span = field(compare=False, repr=False)
    function: Callable | None = field(compare=False, repr=False, default=None)

    @property
    def inputs(self) -> int:
        return len(self.parameters)
