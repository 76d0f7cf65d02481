"""The null that is used where no calibration is given: stated, and no substitute for one's own.

`null.calibrate` over the probe rows of 24 clean and repaired models: CIFAR-10, MNIST and traffic signs at 25 and 32
pixels, residual, plain convolutional and fully connected networks, our own and strangers'; `docs/probe.md` lists them.
Lines, made of the same ink, take the patches' ceilings where those are higher.
"""

from xray_jax.probe.null import Null

DEFAULT_NULL = Null(
    {
        "patch": (0.08, 0.31, 0.7, 0.78, 0.78, 0.85, 0.89, 0.89, 0.89),
        "mosaic": (0.1, 0.29, 0.29, 0.39, 0.39, 0.5, 0.5, 1.0, 1.0),
        "border": (0.02, 0.07, 0.16, 0.29, 0.45, 0.76, 0.87, 0.87, 0.87),
        "line": (0.08, 0.31, 0.7, 0.78, 0.81, 0.93, 0.98, 0.98, 1.0),
        "sinusoid": (0.06, 0.23, 0.51, 0.64, 0.64, 0.83, 0.9, 1.0, 1.0),
        "ripple": (0.24, 0.96, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        "cosine": (0.03, 0.12, 0.26, 0.42, 0.42, 0.43, 1.0, 1.0, 1.0),
        "shift": (0.01, 0.06, 0.13, 0.23, 0.34, 0.53, 0.75, 0.9, 1.0),
        "blend-colour": (0.01, 0.05, 0.12, 0.17, 0.27, 0.46, 0.78, 0.78, 0.78),
        "blend-noise": (0.04, 0.16, 0.37, 0.65, 0.85, 0.97, 0.97, 0.97, 1.0),
        "blend-image": (0.04, 0.15, 0.33, 0.45, 0.45, 0.45, 0.63, 0.63, 1.0),
        "quantise": (0.2, 0.79, 0.79, 0.96, 0.96, 0.99, 0.99, 1.0, 1.0),
        "warp": (0.02, 0.09, 0.09, 0.1, 0.1, 0.12, 0.18, 1.0, 1.0),
        "focus": (0.06, 0.18, 0.41, 0.72, 0.72, 0.72, 0.72, 0.72, 1.0),
    },
    models=24,
    source="default",
)
