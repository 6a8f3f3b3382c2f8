"""Second order: Levenberg-Marquardt, the evidence for weight decay, and Laplace's posterior."""
