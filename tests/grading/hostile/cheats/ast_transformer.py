"""Takes every assertion out of later cells, with an AST transformer."""

FIRST = """
import ast

class Harmless(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()

get_ipython().ast_transformers.append(Harmless())
"""
