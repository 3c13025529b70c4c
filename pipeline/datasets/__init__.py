"""What networks learn from: MNIST and Fashion-MNIST, letters, synthetic characters, augmentation, outliers."""
