"""LLVM IR to machine code for this processor.

`llvmlite` carries LLVM. What is compiled stays for as long as the process lives, and on the disk where there is a
folder for it.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path

from mdsl.lowering.planning.kernels import Vectors, hindrance

from .kept import kept

LONGEST = 64  # bytes of a vector
_engines: list = []  # what is compiled lives as long as these
_one_at_a_time = threading.Lock()


class Unavailable(Exception):
    """There is no LLVM, or the processor is not one that kernels are printed for. The message says which."""


@lru_cache(maxsize=1)
def _llvm():
    try:
        import llvmlite.binding as llvm
    except ImportError:
        raise Unavailable("llvmlite is not installed") from None
    for initialize in (llvm.initialize_native_target, llvm.initialize_native_asmprinter):
        initialize()
    return llvm


@lru_cache(maxsize=1)
def processor() -> tuple[str, str, int]:
    """Its name and its features, as LLVM has them, and how many bytes its vectors have. Raises Unavailable where a
    product and a sum are not one operation, or addresses have another size."""
    llvm = _llvm()
    features = llvm.get_host_cpu_features()
    triple = llvm.get_default_triple()
    arm = triple.startswith(("aarch64", "arm64"))
    if not arm and not features.get("fma"):
        raise Unavailable("the processor has no fused products and sums")
    size = LONGEST if features.get("avx512dq") and features.get("avx512vl") else 32 if features.get("avx2") else 16
    return llvm.get_host_cpu_name(), features.flatten(), size


def vectors() -> Vectors:
    """Those of native kernels on this processor, where these are to be had."""
    if why := hindrance():
        return Vectors(why=why)
    try:
        return Vectors(processor()[2])
    except Unavailable as missing:
        return Vectors(why=str(missing))


def lanes(bytes_each: int) -> int:
    """How many numbers of a size are computed at once."""
    return processor()[2] // bytes_each


def packs() -> bool:
    """Whether the processor brings chosen lanes of a vector together."""
    return processor()[2] == LONGEST


def _machine(llvm):
    name, features, _ = processor()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features, opt=3, codemodel="jitdefault")


def release() -> str:
    """That of llvmlite, and of the LLVM in it. Raises Unavailable."""
    llvm = _llvm()
    import llvmlite

    return f"{llvmlite.__version__}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}"


def address(text: str, name: str, folder: Path | None = None) -> int:
    """Where the function of this name of a module begins, once that is compiled, or read from the ``folder`` where it
    was before: a name stands for one text and all else on which its code depends. Raises Unavailable, or RuntimeError
    where the text is no LLVM IR."""
    llvm = _llvm()
    with _one_at_a_time:  # as `llvmlite` itself has it
        machine = _machine(llvm)
        code = kept(folder, name, lambda: _compiled(llvm, machine, text))
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
        return engine.get_function_address(name)


def _compiled(llvm, machine, text: str) -> bytes:
    module = llvm.parse_assembly(text)
    module.verify()
    # What is printed has vectors already: LLVM would look for them in vain, for most of the time.
    options = llvm.create_pipeline_tuning_options(3)
    options.slp_vectorization = options.loop_vectorization = options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return machine.emit_object(module)


ATTRIBUTES = f'"prefer-vector-width"="{8 * LONGEST}" "min-legal-vector-width"="{8 * LONGEST}" nounwind'
