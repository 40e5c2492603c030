"""Parameters in files: `save_params` and `load_params`, and `mdsl run --params FILE`.

A file is in the safetensors format, of float64 arrays by name: `sigma`, and the weights of learned functions as
`net.weights_1`; in the units that the program shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mdsl.files.errors import rejected, writing


def save_params(path: str | Path, params: Mapping[str, object]) -> None:
    """Write parameters, such as `program.params` or what `mdsl.fit` gives, to a safetensors file. Raises Rejected:
    ``cannot-write``."""
    from safetensors.numpy import save

    flat = {}
    for name, value in params.items():
        parts = (
            {f"{name}.{key}": array for key, array in value.items()} if isinstance(value, Mapping) else {name: value}
        )
        flat |= {key: np.array(array, dtype=np.float64, order="C") for key, array in parts.items()}
    with writing(Path(path)):
        Path(path).write_bytes(save(flat, metadata={"format": "mdsl parameters"}))


def load_params(path: str | Path) -> dict[str, object]:
    """The parameters in a file, as `System.energy(params=...)` takes them. Raises Rejected: ``missing-file``,
    ``unreadable-file``, ``malformed-file``."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        flat = load(Path(path).read_bytes())
    except FileNotFoundError:
        raise rejected("missing-file", f"there is no file {path}") from None
    except OSError as error:
        raise rejected("unreadable-file", f"{path} cannot be read: {error.strerror}") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise rejected("malformed-file", f"{path} is no safetensors file: {error}") from None
    params: dict[str, object] = {}
    for key, array in flat.items():
        name, dot, part = key.partition(".")
        if dot:
            params.setdefault(name, {})[part] = array
        else:
            params[name] = array
    return params
