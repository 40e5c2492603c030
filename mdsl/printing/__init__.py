"""How a Model reads as a program."""
