"""Where the training of one model stands, on disk: a killed training goes on after its last whole epoch."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flax import serialization

from xray_jax.files import atomic_write

SETTINGS = "spec.json"


@dataclass(frozen=True)
class Progress:
    """The state after the last whole epoch, one file a stage, replaced whole.

    Attributes:
      folder: of one model; None keeps nothing.
      stage: of attacks that train in several.
    """

    folder: Path | None = None
    stage: str = "train"

    def of(self, stage: str) -> "Progress":
        """The same model's progress in another stage."""
        return Progress(self.folder, stage)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Keeps what is being trained, beside the progress of an interrupted call or alone."""
        if self.folder is None:
            return
        if not self._kept():
            self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.folder / SETTINGS, "w") as file:
            json.dump(settings, file)

    def settings(self) -> dict[str, Any] | None:
        """What the kept progress is of; None where nothing was kept, or not what it is of."""
        path = self.folder and self.folder / SETTINGS
        if path is None or not path.exists() or not self._kept():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def _kept(self) -> bool:
        return self.folder is not None and any(self.folder.glob("*.msgpack"))

    def save(self, epochs: int, state: Any) -> None:
        """Keeps `state`, any tree that Flax can serialise, as that after `epochs` epochs."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / f"{self.stage}.msgpack") as file:
                file.write(serialization.to_bytes({"epochs": epochs, "state": state}))

    def load(self, fresh: Any) -> tuple[int, Any]:
        """Epochs done and the state after them; 0 and `fresh` where nothing was kept.

        Raises:
          ValueError: the file is of another network or optimiser than `fresh`.
        """
        path = self.folder and self.folder / f"{self.stage}.msgpack"
        if path is None or not path.exists():
            return 0, fresh
        try:
            kept = serialization.from_bytes({"epochs": 0, "state": fresh}, path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: progress of another network or optimiser; delete it to start again") from error
        return kept["epochs"], kept["state"]

    def clear(self) -> None:
        """Forgets all stages: the model is whole."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


NOTHING_KEPT = Progress()
