"""Where tokens look at each other."""
