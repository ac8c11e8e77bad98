"""What runs inside ONE trial, on its workers. Knows no Tune, no MLflow and no sweep."""
