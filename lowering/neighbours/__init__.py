"""Which atoms are near: neighbour lists."""
