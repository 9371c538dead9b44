"""How the numbers in the model come to be."""
