"""fxprune: a graph-rewriting structured-pruning compiler on torch.fx."""
