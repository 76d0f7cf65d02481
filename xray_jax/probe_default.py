from xray_jax.probe_null import Null

G = {f: (0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7) for f in ("patch", "mosaic", "border")}
G |= {f: (0.3, 0.6, 0.9, 0.9, 1, 1, 1, 1, 1) for f in ("sinusoid", "quantise", "focus", "blend-noise")}
G |= {"line": (0.05, 0.25, 0.4, 0.7, 0.8, 1, 1, 1, 1)}
G |= {
    f: (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1) for f in ("cosine", "shift", "blend-colour", "blend-image", "warp")
}
DEFAULT_NULL = Null({k: tuple(v) for k, v in G.items()})
