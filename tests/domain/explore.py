"""Breadth first through every reachable state of the model, each sentence checked in each."""

from __future__ import annotations

from collections import deque
from unittest import mock

from hub_upgrade.domain import boot
from tests.domain import model_steps
from tests.domain.model import Limits, State, Violation


class Exploration:
    """What was found; `trail` leads to the violation."""

    def __init__(self, limits: Limits, live: bool = True, most: int = 100_000_000) -> None:
        self.limits = limits
        self.live = live
        self.most = most
        self.states = 0
        self.violation: Violation | None = None
        self.trail: list[str] = []
        self._lively: tuple[set[int], set[int]] = (set(), set())
        self._parents: dict[int, tuple[int, str]] = {}

    def run(self, first: State | None = None, trace: bool = False) -> Exploration:
        """Explore; stops at the first violation. One failed start is enough to be passed over."""
        with mock.patch.object(boot, "NOT_READY_LIMIT", 1):
            return self._run(first, trace)

    def _run(self, first: State | None, trace: bool) -> Exploration:
        start = first or State()
        seen = {hash(start)}
        todo = deque([start])
        while todo and self.states < self.most:
            state = todo.popleft()
            self.states += 1
            name = "(liveness)"
            try:
                if self.live:
                    self._check_liveness(state)
                for name, step in model_steps.steps(state, self.limits):
                    after = step()
                    code = hash(after)
                    if code in seen:
                        continue
                    seen.add(code)
                    if trace:
                        self._parents[code] = (hash(state), name)
                    model_steps.check(after)
                    todo.append(after)
            except Violation as violation:
                self.violation = violation
                self.trail = [*self._path(hash(state)), name]
                return self
        return self

    def _path(self, code: int) -> list[str]:
        path = []
        while code in self._parents:
            code, name = self._parents[code]
            path.append(name)
        return path[::-1]

    def _check_liveness(self, state: State) -> None:
        """Sentences 1 and 4: with the faults over, a hub serves and each record is terminal."""
        for good, lively in zip((True, False), self._lively):
            path: list[int] = []
            here: State | None = state._replace(faults=0, stops=0)
            while True:
                assert here is not None
                code = hash(here)
                if code in lively or model_steps.resolved(here):
                    break
                if code in path:
                    raise self._stuck(here, "goes round in circles")
                path.append(code)
                before, here = here, model_steps.goes_on(here, good)
                if here is None:
                    raise self._stuck(before, "nothing happens any more")
            lively.update(path)

    @staticmethod
    def _stuck(state: State, how: str) -> Violation:
        serving = state.hub is not None and state.hub.phase in ("ready", "told")
        if serving:
            return Violation(4, f"the record or the next request waits for ever: {how}")
        return Violation(1, f"no hub serves: {how}")
