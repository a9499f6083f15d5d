"""Images to features: a backbone run by an engine, its features read from the cache or computed."""
