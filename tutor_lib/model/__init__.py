"""The parts, assembled."""
