"""Which weights can be scaled so that a graph computes what it did, although numbers in it change."""
