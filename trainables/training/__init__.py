"""From a model, its data and its settings to a trained model: the loop, and all that it is made of."""
