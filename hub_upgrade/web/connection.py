"""One connection as plain state: unread input, unsent output, and what it waits for."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic

from hub_upgrade.errors import RefusedError
from hub_upgrade.host.children import ChildResult, OneShot
from hub_upgrade.host.loop import READ, WRITE, Loop
from hub_upgrade.shapes import Protocol
from hub_upgrade.web.crowd import Turns
from hub_upgrade.web.limits import OVERLOADED, TIMED_OUT, Limits
from hub_upgrade.web.messages import Answer, Later, Request, Response, Stream, error_response
from hub_upgrade.web.pipe import (
    CLOSED,
    LINGERING,
    QUEUED,
    READ_SIZE,
    READING,
    STREAMING,
    WAITING,
    WRITING,
    Pipe,
)
from hub_upgrade.web.server import CONTINUE, Handler, Parsed, head_end
from hub_upgrade.web.streams import Listener, Streams

MAX_REMEMBERED_HEAD = 2048
"""A keep-alive client sends the same head again and again: one of up to this size is kept."""
MAX_REMEMBERED_FIELDS = 32
"""The same, in lines: what is kept of a line takes more memory than the line."""
HALF_A_BLANK_LINE = b"\r"
SHARED_FROM = 16 * 1024
"""A body of this size is sent from where it lies: many clients may be slow to take the same."""


class Owner(Protocol):
    """What a connection needs of the collection that holds it."""

    loop: Loop
    handler: Handler
    respond: Callable[[Request], Answer]
    closing: bool
    turns: Turns
    streams: Streams

    def run_child(self, later: Later, done: Callable[[ChildResult], None]) -> OneShot | None:
        """Start the child of an answer; None when there are too many already."""

    def gone(self, connection: Connection) -> None:
        """The connection is closed; called exactly once."""


class Connection(Pipe):
    """Moves its bytes; one answer at a time is unsent, and meanwhile nothing more is read."""

    __slots__ = (
        "_child",
        "_looked_at",
        "_owner",
        "_parsed",
        "_remembered",
        "_remembered_head",
        "_rest",
        "answered",
        "close_after",
        "continued",
        "input",
        "peer",
        "stream",
        "unread",
    )

    def __init__(self, owner: Owner, sock: socket.socket, peer: str) -> None:
        super().__init__(owner.loop, sock)
        self._owner = owner
        self._child: OneShot | None = None
        self._looked_at = 0
        self._parsed: Parsed | None = None
        self._remembered_head = b""
        self._remembered: tuple[Parsed, Request] | None = None
        self._rest = b""
        self.peer = peer
        self.input = b""
        self.stream: Listener | None = None
        self.close_after = False
        self.unread = False
        self.continued = False
        self.answered = 0

    # --- bytes in -------------------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """The loop's word that something can be read or written."""
        if self.state != READING:
            self._ready_otherwise(events)
            return
        try:
            piece = self.sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.drop()
            return
        if not piece:
            self.drop()
        elif self.input and self.input != HALF_A_BLANK_LINE:
            self.input += piece
            self.advance()
        else:
            self.input += piece
            self.advance()
            if self.input and self.state == READING and self._parsed is None and not self.idle():
                self.since = monotonic()  # the first bytes of a request that is not whole

    def _ready_otherwise(self, events: int) -> None:
        if self.state == WRITING:
            self._flush()
        elif self.state == LINGERING:
            self.discard()
        elif self.state == WAITING:
            self.look_whether_gone(events)
        elif self.stream is not None:
            self.stream.ready(events)
        else:  # queued: what came waits in the kernel, or memory would have no end
            self.want(0)

    def advance(self) -> None:
        """Answer the next request, if it has all come; those behind it wait for their turn."""
        data = self.input
        if self._remembered is not None and data.startswith(self._remembered_head):
            self.input = data[len(self._remembered_head) :]
            self._parsed, request = self._remembered
            self._respond(request)
        elif not data or not self._next():
            return
        if self.input and self.state == READING:
            self.state = QUEUED
            self._owner.turns.add(self)

    def go_on(self) -> None:
        """Its turn has come."""
        if self.state == QUEUED:
            self.state = READING
            self.advance()
            if self.state == READING:
                self.want(READ)

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
        small = whole <= MAX_REMEMBERED_HEAD and len(parsed.fields) <= MAX_REMEMBERED_FIELDS
        if small and not body:
            self._remembered_head = data[:whole]
            self._remembered = (parsed, request)
        self._respond(request)
        return True

    def _read_head(self) -> Parsed | None:
        """The head of the next request, once it is there; what is refused is answered here."""
        blank = 0
        while self.input.startswith(b"\r\n", blank):  # RFC 9112, section 2.2: an old client's
            blank += 2
        self.input = self.input[blank:]
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
        if isinstance(answer, Response):
            self.reply(answer)
        elif isinstance(answer, Stream):
            self._listen(answer, request.method == "HEAD")
        else:
            self._wait(answer)

    def _listen(self, wanted: Stream, head_only: bool) -> None:
        """Become a stream: nothing more is read as a request, and only the end ends the answer."""
        owner = self._owner
        head = owner.handler.stream_head()
        listener = None
        if not (head_only or owner.closing):
            listener = owner.streams.admit(self, wanted)
            if listener is None:
                self.reply(OVERLOADED)
                return
        self._parsed = None
        self.answered += 1
        if listener is None:
            self.close_after = True
            self._send(head)
            return
        self.input = b""
        self.state = STREAMING
        self.stream = listener
        listener.begin(head)

    def _wait(self, later: Later) -> None:
        def done(result: ChildResult) -> None:
            self._child = None
            self.state = READING
            self.want(READ)
            self.reply(later.finish(result))
            if self.state == READING:
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
        if len(response.body) >= SHARED_FROM and not head_only:
            self._rest = response.body
            head_only = True
        self._send(self._owner.handler.render(response, keep, head_only, old))

    def refuse(self, response: Response) -> None:
        """Answer what is not a request, or not a whole one, and close: what follows is unknown."""
        self._parsed = None
        self.close_after = True
        self.unread = True
        self.reply(response)

    # --- bytes out ------------------------------------------------------------------------------

    def _send(self, data: bytes | memoryview) -> None:
        if not self.put(data):
            if self.state != CLOSED:
                self.state = WRITING
                self.want(WRITE)
        elif self._rest:
            rest, self._rest = self._rest, b""
            self._send(rest)
        elif self.close_after:
            self._close_or_linger()

    def unsent(self) -> bytes:
        """All that is still to be sent of an answer."""
        return b"".join((self.output, self._rest))

    def _flush(self) -> None:
        self.state = READING
        self._send(self.output)
        if self.state == READING:
            self.want(READ)
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
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop()
            return
        self.want(READ)

    def drop(self) -> None:
        """Close it; whatever was in work for it ends."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self.close()
        if self._child is not None:
            self._child.cancel()
            self._child = None
        if self.stream is not None:
            self.stream.leave()
            self.stream = None
        self.input = self._rest = b""
        self._owner.gone(self)

    # --- watching and time ----------------------------------------------------------------------

    def idle(self) -> bool:
        """Whether nothing of a request has come; half a blank line is none of it."""
        return self.state == READING and (not self.input or self.input == HALF_A_BLANK_LINE)

    def sweep(self, now: float, limits: Limits) -> None:
        """Close it if it has been in its present state for too long."""
        age = now - self.since
        if self.state == READING:
            if self.idle():
                if age > limits.idle_s:
                    self.drop()
            elif age > (limits.request_s if self._parsed is None else limits.body_s):
                self.refuse(TIMED_OUT)
        elif (self.state == WRITING and age > limits.write_s) or (
            self.state == LINGERING and age > limits.linger_s
        ):
            self.drop()

    def resume(self, state: int, age: float) -> None:
        """Go on in a new image, as the record says."""
        self.state = state
        self.watch((READ if state == STREAMING else 0) | WRITE if self.output else READ)
        if state == READING:
            self.advance()
        self.since = monotonic() - age
