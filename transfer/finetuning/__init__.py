"""Fine-tuning with the network: of its last blocks on cached maps, or of the last layer in train mode."""
