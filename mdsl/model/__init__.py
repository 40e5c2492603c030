"""What a program means: nodes, types, units, operators, and the one way to walk and rewrite them."""
