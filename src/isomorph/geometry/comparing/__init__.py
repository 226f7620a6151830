"""How alike two RDMs are."""
