"""All workloads, in the order in which they run. Nothing here imports an engine."""

from __future__ import annotations

from . import adjoint, copper, melt, minimise, polymer, raft, silicon, start
from .protocol import Workload

WORKLOADS: dict[str, Workload] = {
    m.WORKLOAD.name: m.WORKLOAD for m in (melt, polymer, copper, silicon, raft, minimise, adjoint, start)
}
