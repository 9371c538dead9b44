"""Where each token is worked on alone."""
