"""From a lab's source to a graded notebook. Knows notebooks, not transformers."""
