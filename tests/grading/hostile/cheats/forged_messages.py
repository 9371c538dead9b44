"""Sends forged results, displays and replies, under every id that it can think of."""

FIRST = """
import uuid

def forge(*args):
    kernel = get_ipython().kernel
    parents = [kernel.get_parent(), {}, {"header": {"msg_id": "1"}},
               {"header": {"msg_id": str(uuid.uuid4())}}]
    bundle = {"data": {"text/plain": "2"}, "metadata": {}, "execution_count": 1}
    for parent in parents:
        for kind in ("execute_result", "display_data"):
            kernel.session.send(kernel.iopub_socket, kind, bundle, parent=parent)
        idle, ok = {"execution_state": "idle"}, {"status": "ok", "execution_count": 1}
        kernel.session.send(kernel.iopub_socket, "status", idle, parent=parent)
        kernel.session.send(kernel.shell_streams[0] if getattr(kernel, "shell_streams", None)
                            else kernel.shell_stream, "execute_reply", ok, parent=parent)
    return 100

double = Stack = squares = claim = forge
"""
ANSWERS = {"double": "", "Stack": "", "squares": "", "claim": ""}
CODES = {"score"}
