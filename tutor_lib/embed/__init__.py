"""Where tokens become vectors, and vectors learn their place."""
