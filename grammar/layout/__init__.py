"""How a program is laid out: the formatter."""
