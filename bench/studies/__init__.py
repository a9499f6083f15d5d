"""Studies that answer one question about the product or about the benchmarks, each a command."""
