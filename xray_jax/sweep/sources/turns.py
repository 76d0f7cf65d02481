"""Who may ask for room first: without an order, what waits for room could wait for what waits for it."""

from threading import Condition

from xray_jax.sweep.sources.address import SourceError


class Turns:
    """Numbers from 0, each of which comes up when all before it have passed."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._taken = self._next = 0
        self._passed: set[int] = set()
        self._over = False

    def take(self) -> int:
        """The next number."""
        with self._condition:
            self._taken += 1
            return self._taken - 1

    def wait(self, turn: int) -> None:
        """Waits until it comes up.

        Raises:
          SourceError: the run is over.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._over or turn <= self._next)
            if self._over:
                raise SourceError("the run is over")

    def passes(self, turn: int) -> None:
        """Lets the next one come up, once all before it have passed too."""
        with self._condition:
            self._passed.add(turn)
            while self._next in self._passed:
                self._passed.remove(self._next)
                self._next += 1
            self._condition.notify_all()

    def end(self) -> None:
        """Nobody need wait any longer."""
        with self._condition:
            self._over = True
            self._condition.notify_all()
