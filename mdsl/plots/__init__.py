"""What is drawn: pair functions of a program, and the records of a run."""
