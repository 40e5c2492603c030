"""Programs that compile quickly rather than run so: of the flags for that those that this XLA knows."""

from mdsl.command.xla_flags import known

WANTED = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",  # the older code generation, where there is one
)


def flags() -> str:
    """``XLA_FLAGS``, which XLA reads when it starts."""
    return " ".join(known(WANTED))


# The first of them as `compiler_options` of `jax.jit`, also for who set XLA_FLAGS otherwise.
OPTIONS = {flag.strip("-").partition("=")[0]: 0 for flag in known(WANTED[:1])}
