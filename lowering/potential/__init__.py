"""Energies, forces, virials and derivatives of one configuration."""
