"""What a run needs beside the compiled program: structures, files, records and the terminal.

Nothing here knows the compiler or JAX: arrays are NumPy's, and every error that a user can cause is a
:class:`mdsl.grammar.diagnostics.Rejected` without a span, which the caller may attach.
"""
