"""RDMs: from features, Grams and repeats; transformed, averaged, arranged."""
