"""A page and a model card about the results in a folder, made from its files alone."""
