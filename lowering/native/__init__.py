"""How sums over pairs are compiled by mdsl itself: the kernel of a pair as LLVM IR, called from programs of XLA."""
