"""Neural Cleanse: the smallest patch that sends every image to a class, found by gradients, class by class."""
