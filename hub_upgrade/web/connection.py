"""One connection as plain state: unread input, unsent output, and what it waits for."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic

from hub_upgrade.errors import RefusedError
from hub_upgrade.host.children import ChildResult, OneShot
from hub_upgrade.host.loop import HANGUP, READ, WRITE, Loop
from hub_upgrade.shapes import Protocol
from hub_upgrade.web.limits import OVERLOADED, TIMED_OUT, Limits
from hub_upgrade.web.messages import Answer, Later, Request, Response, error_response
from hub_upgrade.web.server import CONTINUE, Handler, Parsed, head_end

READ_SIZE = 8192
MAX_REMEMBERED_HEAD = 2048
"""A keep-alive client sends the same head again and again: one of up to this size is kept."""
MAX_DISCARDED = 1024 * 1024
"""What a refused client may still send before it is cut off; see `Connection.linger`."""

READING, WRITING, WAITING, LINGERING, CLOSED = range(5)


class Owner(Protocol):
    """What a connection needs of the collection that holds it."""

    loop: Loop
    handler: Handler
    respond: Callable[[Request], Answer]
    closing: bool

    def run_child(self, later: Later, done: Callable[[ChildResult], None]) -> OneShot | None:
        """Start the child of an answer; None when there are too many already."""

    def gone(self, connection: Connection) -> None:
        """The connection is closed; called exactly once."""


class Connection:
    """Moves its bytes; one answer at a time is unsent, and meanwhile nothing more is read."""

    __slots__ = (
        "_child",
        "_events",
        "_looked_at",
        "_owner",
        "_parsed",
        "_remembered",
        "_remembered_head",
        "_socket",
        "answered",
        "close_after",
        "continued",
        "discarded",
        "fd",
        "input",
        "output",
        "peer",
        "since",
        "state",
        "unread",
    )

    def __init__(self, owner: Owner, sock: socket.socket, peer: str) -> None:
        self._owner = owner
        self._socket = sock
        self._child: OneShot | None = None
        self._events = READ
        self._looked_at = 0
        self._parsed: Parsed | None = None
        self._remembered_head = b""
        self._remembered: tuple[Parsed, Request] | None = None
        self.fd = sock.fileno()
        self.peer = peer
        self.input = b""
        self.output = b""
        self.state = READING
        self.close_after = False
        self.unread = False
        self.continued = False
        self.answered = 0
        self.discarded = 0
        self.since = monotonic()

    # --- bytes in -------------------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """The loop's word that something can be read or written."""
        if self.state != READING:
            self._ready_otherwise(events)
            return
        try:
            piece = self._socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.drop()
            return
        if not piece:
            self.drop()
        elif self.input:
            self.input += piece
            self.advance()
        else:
            self.input = piece
            self.advance()
            if self.input and self.state == READING and self._parsed is None:
                self.since = monotonic()  # the first bytes of a request that is not whole

    def _ready_otherwise(self, events: int) -> None:
        if self.state == WRITING:
            self._flush()
        elif self.state == LINGERING:
            self._discard()
        elif self.state == WAITING:
            self._look_whether_gone(events)

    def _look_whether_gone(self, events: int) -> None:
        """While a child works for it: a client that went away ends the child; more input waits."""
        try:
            gone = bool(events & HANGUP) or not self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            gone = True
        if gone:
            self.drop()
        else:
            self._want(0)

    def advance(self) -> None:
        """Answer every request that is whole, until one has to wait or an answer is not taken."""
        while self.input and self.state == READING:
            if self.input == self._remembered_head and self._remembered is not None:
                self.input = b""
                self._parsed, request = self._remembered
                self._respond(request)
            elif not self._next():
                return

    def _next(self) -> bool:
        """Take one request off the input and answer it; False when it has not all come."""
        parsed = self._parsed
        if parsed is None:
            parsed = self._read_head()
            if parsed is None:
                return False
        data = self.input
        whole = parsed.size + parsed.length
        if len(data) < whole:
            return False
        self.input = data[whole:]
        body = data[parsed.size : whole]
        request = Request(parsed.method, parsed.path, parsed.query, parsed.fields, body, self.peer)
        if whole <= MAX_REMEMBERED_HEAD and not body:
            self._remembered_head = data[:whole]
            self._remembered = (parsed, request)
        self._respond(request)
        return True

    def _read_head(self) -> Parsed | None:
        """The head of the next request, once it is there; what is refused is answered here."""
        if self.input.startswith(b"\r\n"):  # RFC 9112, section 2.2: after the body of an old client
            self.input = self.input[2:]
        try:
            end = head_end(self.input, self._looked_at)
            self._looked_at = len(self.input)
            if not end:
                return None
            parsed = self._owner.handler.read(self.input[:end])
        except RefusedError as error:
            self.refuse(error_response(error.status, error.code, error.sentence))
            return None
        self._parsed = parsed
        self._looked_at = 0
        if len(self.input) < end + parsed.length:
            self.since = monotonic()
            if parsed.expects and not self.continued:
                self.continued = True
                self._send(CONTINUE)
        return parsed

    # --- answers --------------------------------------------------------------------------------

    def _respond(self, request: Request) -> None:
        answer = self._owner.respond(request)
        if isinstance(answer, Later):
            self._wait(answer)
        else:
            self.reply(answer)

    def _wait(self, later: Later) -> None:
        def done(result: ChildResult) -> None:
            self._child = None
            self.state = READING
            self._want(READ)
            self.reply(later.finish(result))
            self.advance()

        try:
            child = self._owner.run_child(later, done)
        except OSError:
            child = None
        if child is None:
            self.reply(OVERLOADED)
            return
        self._child = child
        self.state = WAITING

    def give_up_waiting(self) -> int:
        """End the child of an answer and say `overloaded` instead; returns the child's PID."""
        child, self._child = self._child, None
        if child is None:
            return 0
        child.cancel()
        self.state = READING
        self.close_after = True
        self.reply(OVERLOADED)
        return child.pid

    def reply(self, response: Response) -> None:
        """Answer the request that was read last."""
        parsed = self._parsed
        keep = not self.close_after and not self._owner.closing
        head_only = old = False
        if parsed is not None:
            keep = keep and parsed.keep
            old = parsed.old
            head_only = parsed.method == "HEAD"
            self._parsed = None
        self.close_after = not keep
        self.continued = False
        self.answered += 1
        self._send(self._owner.handler.render(response, keep, head_only, old))

    def refuse(self, response: Response) -> None:
        """Answer what is not a request, or not a whole one, and close: what follows is unknown."""
        self._parsed = None
        self.close_after = True
        self.unread = True
        self.reply(response)

    # --- bytes out ------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.drop()
            return
        self.since = monotonic()
        if sent < len(data):
            self.output = data[sent:]
            self.state = WRITING
            self._want(WRITE)
        elif self.close_after:
            self._close_or_linger()

    def _flush(self) -> None:
        data, self.output = self.output, b""
        self.state = READING
        self._send(data)
        if self.state == READING:
            self._want(READ)
            self.advance()

    def _close_or_linger(self) -> None:
        if self.input or self.unread:
            self.linger()
        else:
            self.drop()

    def linger(self) -> None:
        """Close, but let the answer arrive: to close over unread input makes the kernel reset
        the connection, and the client may lose what it has not read yet (RFC 9112, 9.6)."""
        self.input = b""
        self.state = LINGERING
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop()
            return
        self._want(READ)

    def _discard(self) -> None:
        try:
            piece = self._socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            piece = b""
        self.discarded += len(piece)
        if not piece or self.discarded > MAX_DISCARDED:
            self.drop()

    def drop(self) -> None:
        """Close it; whatever was in work for it ends."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        if self._child is not None:
            self._child.cancel()
            self._child = None
        self.input = self.output = b""
        self._owner.loop.unwatch(self.fd)
        self._socket.close()
        self._owner.gone(self)

    # --- watching and time ----------------------------------------------------------------------

    def watch(self) -> None:
        """Begin to hear from the loop."""
        self._owner.loop.watch(self.fd, self._events, self.ready)

    def _want(self, events: int) -> None:
        if events != self._events and self.state != CLOSED:
            self._events = events
            self._owner.loop.modify(self.fd, events)

    def idle(self) -> bool:
        """Whether nothing of a request has come."""
        return self.state == READING and not self.input

    def sweep(self, now: float, limits: Limits) -> None:
        """Close it if it has been in its present state for too long."""
        age = now - self.since
        if self.state == READING:
            if not self.input:
                if age > limits.idle_s:
                    self.drop()
            elif age > (limits.request_s if self._parsed is None else limits.body_s):
                self.refuse(TIMED_OUT)
        elif (self.state == WRITING and age > limits.write_s) or (
            self.state == LINGERING and age > limits.linger_s
        ):
            self.drop()

    # --- the handoff ----------------------------------------------------------------------------

    def set_inheritable(self, inheritable: bool) -> None:
        """Whether the descriptor survives an exec."""
        self._socket.set_inheritable(inheritable)

    def resume(self, state: int, age: float) -> None:
        """Go on in a new image, as the record says."""
        self.state = state
        self._events = WRITE if state == WRITING else READ
        self.watch()
        self.advance()
        self.since = monotonic() - age
