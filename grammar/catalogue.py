"""Every diagnostic that mdsl can give: its severity, and what it means in one sentence.

`docs/errors.md` has a section for each; a test holds the two together and asks for a test of each id.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    severity: str  # "error": the input is wrong; "failure": a run failed; "warning"
    meaning: str


CATALOGUE: dict[str, Entry] = {
    # -- what was written --------------------------------------------------------------------------
    "syntax": Entry("error", "The text does not follow the grammar."),
    "missing-operator": Entry("error", "Two expressions stand side by side with no operator between them."),
    "missing-expression": Entry(
        "error", "An operator, a bracket or a word is followed by nothing that it could apply to."
    ),
    "missing-comma": Entry("error", "Two members of a list stand side by side with no comma between them."),
    "chained-comparison": Entry("error", "A comparison of a comparison, as in `a < b < c`."),
    "bad-domain": Entry("error", "The parenthesis after `sum` is not one of the domains that a sum can have."),
    "unknown-statement": Entry("error", "A statement begins with a word that begins none."),
    "foreign-syntax": Entry("error", "A sign or a comment of another language."),
    "assignment-in-condition": Entry("error", "`=` stands where `==` compares."),
    "unclosed": Entry("error", "A bracket, brace, bar or string is opened and never closed."),
    "unopened": Entry("error", "A bracket, brace or bar is closed that was never opened."),
    "reserved-name": Entry("error", "A word of the language is used as a name."),
    "bad-number": Entry("error", "A number that is too large, or not of the kind that its place asks for."),
    "bad-character": Entry("error", "A character that has no meaning in the language."),
    "nesting": Entry("error", "An expression is nested too deeply to compile."),
    # -- names -------------------------------------------------------------------------------------
    "unknown-name": Entry("error", "A name that nothing in scope declares."),
    "unknown-module": Entry(
        "error", "`use` names a module that neither the standard library nor the folder of the program holds."
    ),
    "unknown-unit": Entry("error", "A unit literal names a unit that the library does not know."),
    "unknown-species": Entry("error", "A species label that `species` does not declare."),
    "duplicate-name": Entry("error", "The same name is declared twice."),
    "cyclic-definition": Entry("error", "A definition needs its own value."),
    "missing-units": Entry("error", "The program does not say which unit system it uses."),
    "ambiguous-module": Entry("error", "A file of the user's has the name of a module of the standard library."),
    "unused-binding": Entry("warning", "A name given by `where` is never used."),
    # -- what declarations say ---------------------------------------------------------------------
    "bad-unit": Entry("error", "A unit or a unit system is not declared as it should be."),
    "bad-dimension": Entry("error", "`dim` is neither 2 nor 3, or something does not fit that number of dimensions."),
    "bad-axis": Entry("error", "An array is declared over something that cannot be an axis."),
    "bad-table": Entry("error", "A table whose labels do not fit its axes."),
    "bad-network": Entry("error", "A learned function is declared with layers that a network cannot have."),
    "missing-entry": Entry("error", "A species, or a pair of species, has no entry in a table."),
    "bad-box": Entry("error", "`box` is given something that is not a box."),
    "repeated-statement": Entry("error", "A statement that may stand once stands twice."),
    "empty-program": Entry("error", "A program without energy, or a run without atoms or without dynamics."),
    "bad-exchange": Entry("error", "Replicas are to exchange what no exchange of theirs can be judged by."),
    "not-yet": Entry("error", "A part of the language that this version of the compiler does not implement."),
    # -- calls and indices -------------------------------------------------------------------------
    "wrong-arguments": Entry(
        "error", "A function, flow or integrator is called with too many, too few or unknown arguments."
    ),
    "missing-extern": Entry("error", "A function of Python is not given, or is given and not declared."),
    "bad-extern": Entry("error", "What is given as a function of Python is none, fails, or does not give one number."),
    "not-a-function": Entry("error", "Something that is not a function is called."),
    "function-as-value": Entry("error", "A function stands where a number is wanted: it still needs arguments."),
    "wrong-index": Entry(
        "error", "An array has the wrong number or kind of indices, or an index is not bound by a sum."
    ),
    "misplaced": Entry("error", "A construct stands where it has no meaning."),
    "unknown-option": Entry("error", "A statement of the run block is given an option it does not have."),
    "missing-option": Entry("error", "A statement of the run block lacks an option it needs."),
    # -- types and dimensions ----------------------------------------------------------------------
    "wrong-type": Entry("error", "A number, vector, point or condition stands where another is wanted."),
    "wrong-unit": Entry("error", "Quantities of different physical dimensions are added, compared or passed."),
    "point-plus-point": Entry("error", "Two points are added; only their difference has a meaning."),
    "unit-in-reduced": Entry("error", "A unit literal in a program in reduced units."),
    "no-integral": Entry("error", "An integral has no closed form that the compiler knows, or diverges."),
    "asymmetric-pair": Entry("error", "The body of a sum over pairs changes when the two atoms are exchanged."),
    "energy-jump": Entry(
        "warning", "The energy of a pair jumps at its cutoff, so the total energy is not conserved exactly."
    ),
    "force-jump": Entry("warning", "The force of a pair jumps at its cutoff."),
    "not-nearest": Entry(
        "warning", "A difference of coordinates, which jumps where an atom crosses the middle of a box that repeats."
    ),
    "no-period": Entry(
        "warning", "A tabulated function of a dihedral angle has no period, so its force jumps where the angle does."
    ),
    "no-support": Entry("error", "A sum over all pairs without a cutoff, on a system too large for it."),
    "box-too-small": Entry(
        "error", "The cutoff is larger than half the box: a pair would need more than its nearest image."
    ),
    "unknown-parameter": Entry("error", "A value is given for a parameter that the program does not have."),
    "no-derivative": Entry(
        "error",
        "A derivative, or a batch, is asked for by something that has none, a const, a label, bonds, a number of "
        "steps, or a derivative of what counts.",
    ),
    "wrong-shape": Entry("error", "An array has another shape than the program needs."),
    "missing-topology": Entry("error", "The program declares a topology that the atoms do not come with."),
    "missing-data": Entry("error", "The program declares data that the atoms do not come with."),
    "bad-topology": Entry(
        "error",
        "A topology names an atom that is not there or one atom twice, leads too far through the box, or does not "
        "follow from bonds.",
    ),
    "missing-mass": Entry("error", "The atoms have no mass: neither the program nor the structure gives one."),
    "precision": Entry("error", "The precision asked for is not available as JAX is set up."),
    "missing-package": Entry("error", "Something needs a package that is not installed."),
    "unsupported-jax": Entry(
        "error",
        "JAX is missing, or a release that computes wrong results or crashes, or one without something that "
        "mdsl needs.",
    ),
    # -- trouble while running ---------------------------------------------------------------------
    "overlap": Entry("failure", "Two atoms are on top of each other, where an energy is infinite."),
    "box-collapsed": Entry("failure", "In the course of a run the box has become smaller than twice the cutoff."),
    "blow-up": Entry(
        "failure", "Positions, velocities or forces are no longer finite, or an atom leaps through the box."
    ),
    "outside-table": Entry(
        "failure",
        "A tabulated function is needed where its table has no values, before its first knot or beyond its last.",
    ),
    "fit-failed": Entry("failure", "A fit of parameters meets a loss that is not finite."),
    "neighbour-overflow": Entry("failure", "A neighbour list cannot be made large enough."),
    "nonconstant": Entry("error", "A value that must be known before the run depends on the state of the run."),
    "batch-shape": Entry(
        "error",
        "The replicas of a batch are not of one shape: they differ in numbers of atoms, of steps, or of records.",
    ),
    # -- the command line ---------------------------------------------------------------------------
    "bad-option": Entry(
        "error", "An option or command on the command line is unknown, or has a value that it cannot have."
    ),
    # -- files and structures ----------------------------------------------------------------------
    "missing-file": Entry("error", "A file that the program reads is not there."),
    "unreadable-file": Entry("error", "A file that the program reads is a folder, or may not be read."),
    "unknown-format": Entry("error", "The name of a file tells no format that mdsl reads or writes."),
    "malformed-file": Entry("error", "The content of a file does not follow its format."),
    "no-atoms": Entry("error", "A structure file holds no atoms."),
    "not-finite": Entry("error", "A structure holds a number that is infinite or not a number."),
    "missing-box": Entry("error", "A structure file does not give the box that a periodic system needs."),
    "triclinic-box": Entry("error", "The box vectors of a structure file lie in a plane, or are left-handed."),
    "partial-occupancy": Entry("error", "A structure file puts several alternatives on one site."),
    "bad-lattice": Entry("error", "The size or the number of atoms of a lattice or random placement makes no sense."),
    "bad-fractions": Entry("error", "The fractions of the species are negative or do not add up to one."),
    "bad-temperature": Entry("error", "Velocities are asked for at a temperature that is negative or not a number."),
    "output-exists": Entry("error", "The folder chosen for the output holds a run already."),
    "cannot-export": Entry("error", "A part of a program that the engine of an export cannot be told."),
    "export-differs": Entry("failure", "An export is computed by its engine, and is not what the program means."),
    "output-name": Entry(
        "error", "The name of an output file is reserved, written twice, or leads out of the folder of the run."
    ),
    "cannot-write": Entry("failure", "The operating system refuses to write the output."),
    "other-program": Entry("error", "A run is to be resumed with another program than the one that made it."),
    "no-run": Entry("error", "A folder holds no run that could be resumed, compared or drawn."),
    "nothing-to-draw": Entry("error", "A program has no pair function of a distance that could be drawn."),
    "nothing-to-compare": Entry("error", "Two runs have no number in common whose error is known in both."),
    "other-conditions": Entry(
        "warning", "A run is resumed on another machine, or with other threads, precision or versions, than it had."
    ),
    "malformed-checkpoint": Entry(
        "failure", "The checkpoint or the records of a run are damaged or belong to another run."
    ),
}
