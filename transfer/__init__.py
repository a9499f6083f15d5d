"""Fine-tune the last layer, or train an SVM on frozen features? Compared fast, with timings to trust."""

__version__ = "0.1.0"
