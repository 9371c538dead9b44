"""A trained model taught something new: low-rank adapters, four bits, instructions, rewards."""
