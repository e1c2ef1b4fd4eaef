"""Convert the pretrained networks that a package registry ships into the models in ``engines/models``."""
