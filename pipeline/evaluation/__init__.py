"""How good a trained network is: metrics, the classification report, handwriting."""
