"""Networks cut before their classifier, and what files of weights hold."""
