"""The paper's qualitative statements, each set against our models with its interval."""

from collections.abc import Sequence

from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.reproduce.tables import markdown, of_attack, scores
from xray_jax.verdict.auroc import Auroc, auroc

EASY = 0.9
"""AUROC from which an attack counts as easily detected."""


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


def claims_table(models: Sequence[Model]) -> str:
    """One line a claim: what the paper says, our AUROC with its interval, and whether that agrees."""
    clean = [m for m in models if m.clean]

    def ours(attack: str, name: str) -> Auroc | None:
        return auroc(scores(of_attack(models, attack), name), scores(clean, name))

    rows = []
    for attack in ("badnets", "ssba", "lira"):
        for name in ("re", "ats"):
            found = ours(attack, name)
            said = f"{attack} is easy for {name.upper()} (AUROC at least {EASY})"
            rows.append([said, "Table 2", str(found or "-"), _verdict(found, above=EASY)])
    found = ours("blended", "re")
    rows.append(["blended evades RE (AUROC under 0.9)", "Section 6", str(found or "-"), _verdict(found, below=EASY)])
    found = ours("wanet", "ats")
    rows.append(
        ["wanet's ATS is above that of clean models (AUROC of low ATS under 0.5)", "Section 6", str(found or "-"),
         _verdict(found, below=0.5)]
    )  # fmt: skip
    return markdown(["the paper says", "where", "AUROC, ours", ""], rows)
