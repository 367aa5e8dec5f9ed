"""Messages between apps of one process. Imported only where Flower is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

_PARTS = ("task_id", "run_id", "node_id")


@contextmanager
def sender() -> Iterator[None]:
    """Say in whose name messages are made, as Flower's own processes do, inside the block."""
    try:
        from flwr.supercore.task_identity import TaskIdentity
    except ImportError:  # an older Flower asks for nothing
        yield
        return
    before = {f"_{part}": getattr(TaskIdentity, f"_{part}") for part in _PARTS}
    for part, number in zip(_PARTS, (1, 0, 0), strict=True):
        setattr(TaskIdentity, part, number)
    try:
        yield
    finally:
        for part, number in before.items():
            setattr(TaskIdentity, part, number)


class InProcessGrid(Grid):
    """Call the app of a client for each message, and keep what it replies.

    Parameters
    ----------
    app : ClientApp
    contexts : dict of int to Context
        Context of each client, by its node.
    """

    def __init__(self, app: ClientApp, contexts: dict[int, Context]):
        self._app, self._contexts = app, contexts
        self._run, self._replies = None, {}

    def set_run(self, run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self):
        """Return the run."""
        return self._run

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None) -> Message:
        """Return a message to a client."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self):
        """Return the nodes of the clients."""
        return list(self._contexts)

    def push_messages(self, messages):
        """Deliver messages; return numbers of the replies."""
        numbers = []
        for message in messages:
            numbers.append(str(len(self._replies)))
            context = self._contexts[message.metadata.dst_node_id]
            self._replies[numbers[-1]] = self._app(message, context)
        return numbers

    def pull_messages(self, message_ids):
        """Return replies, each once."""
        return [self._replies.pop(number) for number in message_ids if number in self._replies]

    def send_and_receive(self, messages, *, timeout=None):
        """Deliver messages, and return the replies."""
        return self.pull_messages(self.push_messages(messages))
