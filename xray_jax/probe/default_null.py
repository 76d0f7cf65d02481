"""The null that is used where no calibration is given: stated, conservative, and no substitute for one's own.

Taken from the highest confirmed flip rates of the clean and repaired models at hand (CIFAR-10, MNIST and traffic signs;
patches and mosaics reached 0.26 at most, blends with clean images 0.58, shifts 0.79, noise, sinusoids and long lines
0.94 to 1.00), raised to a curve that grows with the cost, since few models fill few of its cells. Where clean models
reach 0.85 and more, nothing can be proved: sinusoids and noise of an RMS change over 0.04 among them.
"""

from xray_jax.probe.null import Null

DEFAULT_NULL = Null(
    {
        "patch": (0.05, 0.1, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85),
        "mosaic": (0.05, 0.1, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85),
        "border": (0.1, 0.2, 0.3, 0.4, 0.4, 0.5, 0.6, 0.7, 0.85),
        "line": (0.05, 0.1, 0.25, 0.5, 0.6, 1.0, 1.0, 1.0, 1.0),
        "sinusoid": (0.3, 0.6, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        "cosine": (0.1, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.8, 1.0),
        "shift": (0.2, 0.3, 0.5, 0.65, 0.8, 0.85, 0.85, 1.0, 1.0),
        "blend-colour": (0.1, 0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 1.0, 1.0),
        "blend-noise": (0.2, 0.5, 0.75, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0),
        "blend-image": (0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0),
        "quantise": (0.3, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0),
        "warp": (0.1, 0.15, 0.25, 0.35, 0.45, 0.6, 0.75, 0.9, 1.0),
        "focus": (0.3, 0.5, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    },
    models=6,
    source="default",
)
