"""A compiler for molecular dynamics."""
