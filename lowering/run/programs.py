"""Compiled programs, kept for the next run and for whoever else does the same, in other threads too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mdsl.lowering.dynamics.device import Dynamics

from .plan import Arrangement


class Once:
    """A function whose first call, which compiles it, others wait for."""

    def __init__(self, function: Callable):
        self._function, self._lock, self._called = function, threading.Lock(), False

    def __call__(self, *given):
        if self._called:
            return self._function(*given)
        with self._lock:
            found = self._function(*given)
            self._called = True
        return found


@dataclass(eq=False)
class Made:
    """What was compiled for one traversal; ``called``: the statements whose steps have been done once."""

    dynamics: Dynamics
    programs: dict[tuple, Callable] = field(default_factory=dict)
    called: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def program(self, key: tuple, make: Callable[[], Callable]) -> Callable:
        """A compiled program, made when it is first wanted."""
        with self.lock:
            if key not in self.programs:
                self.programs[key] = Once(make())
            return self.programs[key]


class Programs:
    """What was compiled, by traversals."""

    def __init__(self):
        self._made: dict[tuple, Made] = {}
        self._lock = threading.Lock()

    def of(self, arrangement: Arrangement) -> Made:
        key = (arrangement.traversal.plan, arrangement.traversal.legs)
        with self._lock:
            if key not in self._made:
                self._made[key] = Made(arrangement.dynamics)
            return self._made[key]
