"""Counts of things in the words of messages."""

from __future__ import annotations


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """So many of a thing: "one index", "two indices"."""
    words = {0: "no", 1: "one", 2: "two", 3: "three", 4: "four"}
    return f"{words.get(n, n)} {noun if n == 1 else plural or noun + 's'}"


def some_indices(n: int) -> str:
    return counted(n, "index", "indices")
