"""Networks: what running them takes."""
