"""Models as an interpreter shows them: what they are, and not every weight."""

import numpy as np

from xray_jax.classifier import BlackBox, Classifier


def test_a_model_is_shown_by_name_classes_input_and_size():
    variables = {"params": {"kernel": np.zeros((3, 1000)), "bias": np.zeros(1000)}}
    model = Classifier(object(), variables, 10, (32, 32, 3), "preactresnet18")
    assert repr(model) == "<Classifier preactresnet18: 10 classes, input 32 x 32 x 3, 4,000 weights>"
    box = BlackBox(lambda images: np.zeros(len(images), int), 10, (32, 32, 3))
    assert repr(box) == "<BlackBox black box: 10 classes, input 32 x 32 x 3>"
