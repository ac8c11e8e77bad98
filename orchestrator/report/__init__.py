"""What a person reads: the comparison in a terminal or as data, and the HTML page."""
