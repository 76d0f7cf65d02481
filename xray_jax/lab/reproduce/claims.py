"""The paper's qualitative statements, each set against our models with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.reproduce.tables import markdown, of_attack, paper_rows, scores
from xray_jax.verdict.auroc import Auroc, auroc

EASY = 0.9
"""AUROC from which an attack counts as easily detected."""
EASY_THERE = 0.95
"""AUROC in the paper from which we take it to say so."""


class Claim(NamedTuple):
    """One statement of the paper.

    Attributes:
      said: what the paper says.
      where: in the paper.
      ours: AUROC of our models; None without models.
      verdict: whether that agrees.
    """

    said: str
    where: str
    ours: Auroc | None
    verdict: str


def _verdict(found: Auroc | None, *, above: float | None = None, below: float | None = None) -> str:
    """Whether the whole interval lies on the claimed side, on the other, or neither; few models leave it open."""
    if found is None:
        return "no model"
    if above is not None:
        agrees, differs = found.low >= above, found.high < above
    else:
        assert below is not None
        agrees, differs = found.high < below, found.low >= below
    if found.few:
        return "open, too few models" + ("; so far it agrees" if agrees else "; so far it differs" if differs else "")
    return "agrees" if agrees else "differs" if differs else "open"


def claims(models: Sequence[Model], paper: Mapping[str, Any]) -> list[Claim]:
    """What the paper says of the data set of `models`, each set against their AUROC."""
    clean = [m for m in models if m.clean]

    def ours(attack: str, name: str) -> Auroc | None:
        return auroc(scores(of_attack(models, attack), name), scores(clean, name))

    made = []
    rows = paper_rows(models, paper)
    for place, attack in enumerate(paper["table2"]["columns"]):
        for name in ("re", "ats"):
            if rows and rows[name.upper()][place] >= EASY_THERE:
                found = ours(attack, name)
                said = f"{attack} is easy for {name.upper()} (AUROC at least {EASY})"
                made.append(Claim(said, "Table 2", found, _verdict(found, above=EASY)))
    if any(model.attack == "blended" for model in models):
        found = ours("blended", "re")
        made.append(Claim("blended evades RE (AUROC under 0.9)", "Section 6", found, _verdict(found, below=EASY)))
    if any(model.attack == "wanet" for model in models):
        found = ours("wanet", "ats")
        said = "wanet's ATS is above that of clean models (AUROC of low ATS under 0.5)"
        made.append(Claim(said, "Section 6", found, _verdict(found, below=0.5)))
    return made


def claims_table(models: Sequence[Model], paper: Mapping[str, Any]) -> str:
    """One line a claim: what the paper says, our AUROC with its interval, and whether that agrees."""
    rows = [[claim.said, claim.where, str(claim.ours or "-"), claim.verdict] for claim in claims(models, paper)]
    return markdown(["the paper says", "where", "AUROC, ours", ""], rows)
