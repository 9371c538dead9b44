"""From a lab's source to a graded notebook. Knows notebooks, not transformers."""

import sys

# Whatever reads a notebook imports jsonschema, which would spend a second and a half on a grammar
# of international web addresses. No notebook's schema asks for it, and jsonschema does without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
