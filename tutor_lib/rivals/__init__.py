"""What else reads a sequence: recurrent networks, state spaces, gated MLPs, hybrids."""
