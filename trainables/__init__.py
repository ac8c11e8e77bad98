"""What runs inside one trial, on its workers. Imports no Ray Tune, no MLflow and nothing of the sweep."""
