"""The null that is used where no calibration is given: stated, and no substitute for one's own.

`null.calibrate` over the probe rows of 24 clean and repaired models: CIFAR-10, MNIST and traffic signs at 25 and 32
pixels, residual, plain convolutional and fully connected networks, our own and strangers'; `docs/probe.md` lists them.
Mosaics and lines, made of the same ink, take the patches' ceilings where those are higher.
"""

from xray_jax.probe.null import Null

DEFAULT_NULL = Null(
    {
        "patch": (0.08, 0.31, 0.7, 0.78, 0.78, 0.85, 0.89, 0.89, 0.89),
        "mosaic": (0.1, 0.31, 0.7, 0.78, 0.78, 0.85, 0.89, 1.0, 1.0),
        "border": (0.02, 0.07, 0.16, 0.29, 0.45, 0.76, 0.87, 0.87, 0.87),
        "line": (0.08, 0.31, 0.7, 0.78, 0.78, 0.92, 0.97, 0.97, 1.0),
        "sinusoid": (0.06, 0.23, 0.51, 0.64, 0.64, 0.83, 0.9, 1.0, 1.0),
        "ripple": (0.24, 0.96, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        "cosine": (0.03, 0.12, 0.26, 0.42, 0.42, 0.43, 1.0, 1.0, 1.0),
        "shift": (0.01, 0.03, 0.07, 0.12, 0.19, 0.31, 0.46, 0.46, 1.0),
        "blend-colour": (0.01, 0.05, 0.12, 0.16, 0.25, 0.42, 0.72, 0.72, 0.72),
        "blend-noise": (0.04, 0.14, 0.32, 0.56, 0.57, 0.97, 0.97, 0.97, 1.0),
        "blend-image": (0.04, 0.15, 0.33, 0.45, 0.45, 0.45, 0.63, 0.63, 1.0),
        "quantise": (0.2, 0.79, 0.79, 0.96, 0.96, 0.99, 0.99, 1.0, 1.0),
        "warp": (0.02, 0.09, 0.09, 0.11, 0.11, 0.16, 0.16, 1.0, 1.0),
        "focus": (0.06, 0.17, 0.38, 0.67, 0.67, 0.67, 0.67, 0.67, 1.0),
    },
    models=24,
    source="default",
)
