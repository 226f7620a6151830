"""Tables of what the libraries do not say themselves; `measure` makes them."""
