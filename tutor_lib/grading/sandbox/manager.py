"""jupyter_client's manager and client, with bounds on what a kernel can send."""

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type, default

MESSAGE_BYTES = 16 << 20  # the largest message that is taken: a larger one ends the connection
WAITING = 64  # messages that wait to be read on one channel; then the kernel waits


def bounded_context() -> zmq.asyncio.Context:
    """A context whose sockets do not fill this process's memory, whatever a kernel sends."""
    context = zmq.asyncio.Context()
    context.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
    context.setsockopt(zmq.RCVHWM, WAITING)
    return context


class SandboxClient(AsyncKernelClient):
    """Talks to a kernel in the sandbox."""

    @default("context")
    def _context_default(self) -> zmq.asyncio.Context:
        self._created_context = True
        return bounded_context()


class SandboxManager(AsyncKernelManager):
    """Manages a kernel in the sandbox."""

    client_factory = Type(klass=AsyncKernelClient, default_value=SandboxClient)

    @default("context")
    def _context_default(self) -> zmq.asyncio.Context:
        self._created_context = True
        return bounded_context()
