"""Fitting parameters, such as the weights of learned functions, to energies and forces.

system = program.bind(x[0], box=box)
found = mdsl.fit(system, x, energies, forces)
mdsl.save_params("weights.safetensors", found.params)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.interpret.constants import array

if TYPE_CHECKING:
    from .system import System


@dataclass(frozen=True, eq=False)
class Fit:
    """``params``: those of the epoch with the smallest validation loss. ``training``, ``validation`` [epochs]: the loss
    in each epoch. ``best``: the number of that epoch, from 0. ``held_out``: the states that nothing was fitted to."""

    params: dict[str, object]
    training: np.ndarray
    validation: np.ndarray
    best: int
    held_out: np.ndarray


@dataclass(frozen=True, eq=False)
class _Data:
    """Arrays with a leading axis of states; energies and forces are None where nothing is fitted to them."""

    x: np.ndarray
    box: np.ndarray | None
    energies: np.ndarray | None
    forces: np.ndarray | None

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: value for name, value in vars(self).items() if value is not None}


def fit(
    system: System,
    x,
    energies=None,
    forces=None,
    *,
    boxes=None,
    energy_weight: float = 1.0,
    force_weight: float = 1.0,
    params: Mapping[str, object] | None = None,
    names: Sequence[str] | None = None,
    optimiser=None,
    learning_rate: float = 1e-3,
    epochs: int = 100,
    batch: int = 16,
    validation: float = 0.2,
    patience: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Fit:
    """Fit parameters of a program to the energies and forces of S states of the atoms that are bound.

    x: [S, N, d]; energies: [S]; forces: [S, N, d]; boxes: [S, ...], each as `System.energy` takes it, where they
    differ. The loss is the mean square error of the energies over their variance, times ``energy_weight``, plus that of
    the forces over the mean of their squares, times ``force_weight``: 1 is as good as the mean. ``names``: the
    parameters that are fitted, by default the learned functions, or all where there are none; ``params``: where the fit
    starts. ``optimiser``: of optax, by default Adam with the ``learning_rate``. ``validation``: the part of the states
    that is held out; ``patience``: the fit ends when so many epochs have not improved on it.

    Raises Rejected: ``wrong-shape``, ``not-finite``, ``unknown-parameter``, ``missing-package``, ``fit-failed``.
    """
    import jax

    data = _checked(system, x, energies, forces, boxes)
    names = _names(system, names)
    params = {**system.program.params, **(params or {})}
    optimiser = _adam(learning_rate) if optimiser is None else optimiser
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.x))
    held_out, kept = np.split(order, [_held_out(len(order), validation)])
    loss = partial(
        _loss, system, _scales(data, energy_weight, force_weight), {k: v for k, v in params.items() if k not in names}
    )
    step, measure = jax.jit(partial(_epoch, optimiser, loss)), jax.jit(partial(_mean, loss))
    free = jax.tree.map(lambda a: jax.numpy.asarray(a, float), {name: params[name] for name in names})
    state, best, curves = optimiser.init(free), (np.inf, free, -1), ([], [])
    arrays = data.arrays()
    with _bar(progress, epochs) as tell:
        for epoch in range(epochs):
            free, state, value = step(free, state, arrays, _batches(rng.permutation(kept), batch))
            held = float(measure(free, arrays, _batches(held_out, batch))) if len(held_out) else float(value)
            curves[0].append(float(value))
            curves[1].append(held)
            if not np.isfinite([curves[0][-1], held]).all():
                help = (
                    "a smaller learning rate; states that overlap, or neighbour lists that are too short, have no "
                    "finite energy either"
                )
                raise Rejected(Diagnostic("fit-failed", f"the loss is not finite in epoch {epoch}", help=help))
            best = min(best, (held, free, epoch), key=lambda found: found[0])
            tell(epoch, curves[0][-1], held)
            if patience is not None and epoch - best[2] >= patience:
                break
    return Fit({**params, **best[1]}, *map(np.array, curves), best[2], np.sort(held_out))


# -- what is given ---------------------------------------------------------------------------------------


def _checked(system: System, x, energies, forces, boxes) -> _Data:
    atoms, dim = system.x.shape
    x = array("x", x, (None, atoms, dim))
    energies = None if energies is None else array("energies", energies, (len(x),))
    forces = None if forces is None else array("forces", forces, x.shape)
    if energies is None and forces is None:
        raise Rejected(
            Diagnostic("wrong-arguments", "there is nothing to fit to", help="give energies, forces, or both")
        )
    if boxes is not None and len(boxes) != len(x):
        raise Rejected(Diagnostic("wrong-shape", f"there are {len(boxes)} boxes and {len(x)} states"))
    return _Data(x, None if boxes is None else np.asarray(boxes, float), energies, forces)


def _names(system: System, names: Sequence[str] | None) -> tuple[str, ...]:
    known = system.program.params
    if names is None:
        learned = tuple(p.name for p in system.model.params if p.learned is not None)
        return learned or tuple(known)
    for name in names:
        if name not in known:
            raise Rejected(
                Diagnostic(
                    "unknown-parameter", f"the program has no free parameter `{name}`", help=suggest(name, known)
                )
            )
    return tuple(names)


def _adam(rate: float):
    try:
        import optax
    except ImportError:
        help = "`pip install mdsl[learn]`, or give another `optimiser`"
        raise Rejected(
            Diagnostic("missing-package", "the optimiser of `fit` needs the package optax", help=help)
        ) from None
    return optax.adam(rate)


def _held_out(states: int, part: float) -> int:
    """How many states are held out: at least one where any are, and not all."""
    return min(states - 1, max(1, round(part * states))) if part > 0 else 0


# -- the loss --------------------------------------------------------------------------------------------


def _scales(data: _Data, energy_weight: float, force_weight: float) -> dict[str, float]:
    """What the squared errors of energies and forces count."""
    found = {}
    if data.energies is not None and energy_weight:
        found["energies"] = energy_weight / (float(np.var(data.energies)) or 1.0)
    if data.forces is not None and force_weight:
        found["forces"] = force_weight / (float(np.mean(data.forces**2)) or 1.0)
    return found


def _loss(
    system: System,
    scales: Mapping[str, float],
    fixed: Mapping[str, object],
    free: Mapping[str, object],
    states: Mapping[str, object],
):
    """The mean over some states."""
    import jax
    import jax.numpy as jnp

    params, total = {**fixed, **free}, 0.0
    for name, function in (("energies", system.energy), ("forces", system.forces)):
        if name in scales:
            found = jax.vmap(
                lambda x, box, f=function: f(x, params=params, box=box), in_axes=(0, 0 if "box" in states else None)
            )(states["x"], states.get("box"))
            total = total + scales[name] * jnp.mean((found - states[name]) ** 2)
    return total


def _batches(states: np.ndarray, size: int) -> np.ndarray:
    """[B, size]: the states in batches of one size; the last is filled up with some of the others."""
    size = min(size, len(states))
    count = -(-len(states) // size)
    return np.resize(states, count * size).reshape(count, size)


def _epoch(optimiser, loss: Callable, free, state, arrays: Mapping[str, object], batches):
    """One pass through all batches: the parameters, the state of the optimiser, and the mean loss."""
    import jax

    def step(carry, batch):
        free, state = carry
        value, slope = jax.value_and_grad(loss)(free, {name: a[batch] for name, a in arrays.items()})
        updates, state = optimiser.update(slope, state, free)
        return (jax.tree.map(lambda p, u: p + u, free, updates), state), value

    (free, state), values = jax.lax.scan(step, (free, state), batches)
    return free, state, values.mean()


def _mean(loss: Callable, free, arrays: Mapping[str, object], batches):
    import jax

    return jax.lax.map(lambda batch: loss(free, {name: a[batch] for name, a in arrays.items()}), batches).mean()


# -- what is shown ---------------------------------------------------------------------------------------


class _bar:
    """A progress bar with the losses of the last epoch."""

    def __init__(self, shown: bool, epochs: int):
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("epoch {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("loss {task.fields[training]:.3g}, held out {task.fields[held]:.3g}"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, disable=not shown)
        self.task = self.progress.add_task("fit", total=epochs, training=np.nan, held=np.nan)

    def __enter__(self) -> Callable:
        self.progress.start()
        return lambda epoch, training, held: self.progress.update(
            self.task, completed=epoch + 1, training=training, held=held
        )

    def __exit__(self, *error) -> None:
        self.progress.stop()
