"""How sums over pairs are compiled without XLA: the kernel of a pair printed as LLVM IR, and called from its programs."""
