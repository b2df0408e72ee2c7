"""The sequence net: what comes next, from the order of what people bought; a transformer in Keras, served by NumPy."""
