"""Is wrong everywhere, and does nothing else: what all the other cheats are given."""
