"""From the Model to JAX: the Field (what is summed where), the Step (when), and the program."""
