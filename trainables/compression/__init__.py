"""From a parent's weights to a variant: `compress` tells the story, one file for each method."""
