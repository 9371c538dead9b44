"""What students get wrong, and how to tell."""
