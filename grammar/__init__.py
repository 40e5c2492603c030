"""What was written: the text of a program, its syntax tree, and what is wrong with it."""
