"""Inference: hard labels of many inputs on all devices; logits and input gradients for those who may ask for them.

A query is not an image but what an image is made of: a point of a plane, a stamp and the number of a clean image. A
`Render` makes the images on the device, a network labels them, and only labels come back.
"""
