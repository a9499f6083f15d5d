"""A finished comparison in people's own tools: an object in Python, a folder of files, MLflow."""
