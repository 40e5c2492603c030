"""What comes from and goes to the disk: structures, tables, records, trajectories, and the folder of a run.

Nothing here knows the compiler or JAX: arrays are NumPy's, and every error that a user can cause is a
:class:`mdsl.grammar.diagnostics.Rejected` without a span, which the caller may attach.
"""
