"""The elementary functions of native kernels, called with arrays of NumPy."""

import ctypes

import numpy as np

from mdsl.lowering.native.compile import ATTRIBUTES, address
from mdsl.lowering.native.elementary import FUNCTIONS, defined
from mdsl.lowering.native.ir import NAMES

TEXT = """{needs}
{definition}
define void @loop(i64 %n, ptr %to, {params}) {attributes} {{
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %more, %next ]
{loads}
  %r = call {vector} @mdsl.{name}.{kind}({given})
  %o = getelementptr {number}, ptr %to, i64 %k
  store {vector} %r, ptr %o, align 4
  %more = add i64 %k, {width}
  %go = icmp slt i64 %more, %n
  br i1 %go, label %next, label %done
done:
  ret void
}}
"""


def compiled(name, dtype, width=8):
    """The function, of as many arrays of this type as it has arguments."""
    kind = f"f{8 * np.dtype(dtype).itemsize}"
    definition, needs = defined(name, kind, width)
    args, vector, number = range(FUNCTIONS[name][1]), f"<{width} x {NAMES[kind]}>", NAMES[kind]
    loads = "\n".join(
        f"  %p{k} = getelementptr {number}, ptr %from{k}, i64 %k\n  %a{k} = load {vector}, ptr %p{k}, align 4"
        for k in args
    )
    text = TEXT.format(
        needs="\n".join(sorted(needs)), definition=definition, attributes=ATTRIBUTES, vector=vector, number=number,
        params=", ".join(f"ptr %from{k}" for k in args), loads=loads, name=name, kind=kind, width=width,
        given=", ".join(f"{vector} %a{k}" for k in args),
    )  # fmt: skip
    where = address(text, "loop")
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64, *(ctypes.c_void_p,) * (1 + len(args)))(where)

    def function(*arrays):
        n = len(arrays[0])
        padded = [np.resize(np.asarray(a, dtype), -(-n // width) * width) for a in np.broadcast_arrays(*arrays)]
        out = np.empty_like(padded[0])
        call(n, out.ctypes.data, *(a.ctypes.data for a in padded))
        return out[:n]

    return function
