"""The paper's qualitative statements, each set against our models with its interval."""

from collections.abc import Sequence

from xray_jax.lab.reproduce.auroc import Auroc, auroc
from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.reproduce.tables import markdown, of_attack, scores

EASY = 0.9
"""AUROC from which an attack counts as easily detected."""
MIN_MODELS = 3


def _verdict(found: Auroc | None, agrees_above: float | None = None, agrees_below: float | None = None) -> str:
    """Whether the whole interval lies on the claimed side, on the other, or neither."""
    if found is None:
        return "no model"
    few = (
        f" ({found.backdoored} model{'s' if found.backdoored > 1 else ''} only)"
        if found.backdoored < MIN_MODELS
        else ""
    )
    if agrees_above is not None:
        verdict = "agrees" if found.low >= agrees_above else "differs" if found.high < agrees_above else "open"
    else:
        assert agrees_below is not None
        verdict = "agrees" if found.high <= agrees_below else "differs" if found.low > agrees_below else "open"
    return verdict + few


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
            rows.append([said, "Table 2", found or "-", _verdict(found, agrees_above=EASY)])
    found = ours("blended", "re")
    rows.append(["blended evades RE (AUROC under 0.9)", "Section 6", found or "-", _verdict(found, agrees_below=EASY)])
    found = ours("wanet", "ats")
    rows.append(
        ["wanet's ATS is above that of clean models (AUROC of low ATS under 0.5)", "Section 6", found or "-",
         _verdict(found, agrees_below=0.5)]
    )  # fmt: skip
    return markdown(["the paper says", "where", "AUROC, ours", ""], rows)
