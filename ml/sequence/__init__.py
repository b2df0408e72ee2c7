"""The sequence net: what people buy next, from the order in which they bought; a transformer in Keras, served by NumPy."""
