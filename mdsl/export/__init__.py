"""How a program is written down for other engines, and how it is proved that it means the same there."""
