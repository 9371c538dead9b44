"""What the trained numbers do."""
