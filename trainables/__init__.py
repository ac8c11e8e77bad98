"""The code that runs inside one trial, on its workers. It knows no Ray Tune, no MLflow and no sweep."""
