"""Networks that no installed library builds, with the names of weights as they were published."""
