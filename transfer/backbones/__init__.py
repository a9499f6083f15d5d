"""Networks cut before their classifier, what files of weights hold, and what running them takes."""
