"""Generation in ONNX Runtime: graphs with a key-value cache, and the loop that runs them."""
