"""Models of RDMs that are fitted: weighted, selected, interpolated; cross-validated."""
