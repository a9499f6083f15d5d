"""A saved model: the folder that a run writes, and predictions with it."""
