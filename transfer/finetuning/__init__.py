"""Fine-tuning of the last blocks of a network on cached maps: what lies before them is computed once."""
