"""The measures between two representations, one file a family; importing it registers them."""
